SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid AS b
JOIN (
    SELECT max(price) AS highest, window_end
    FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
    GROUP BY window_start, window_end
) AS w
ON b.price = w.highest AND b.date_time BETWEEN w.window_end - INTERVAL '10 seconds' AND w.window_end
