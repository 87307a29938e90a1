SELECT seller, date_time,
    avg(final) OVER (PARTITION BY seller ORDER BY date_time, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS mean
FROM (
    SELECT id, seller, date_time, final
    FROM (
        SELECT a.id, a.seller, b.date_time, b.price AS final,
            row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS place
        FROM auction AS a JOIN bid AS b ON a.id = b.auction
        WHERE b.date_time BETWEEN a.date_time AND a.expires
    ) AS bids
    WHERE place <= 1
) AS winning
