SELECT counted.auction, counted.num, counted.window_start
FROM (
    SELECT auction, window_start, count(*) AS num
    FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
    GROUP BY auction, window_start
) AS counted
JOIN (
    SELECT window_start, max(num) AS most
    FROM (
        SELECT auction, window_start, count(*) AS num
        FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
        GROUP BY auction, window_start
    ) AS again
    GROUP BY window_start
) AS hottest
ON counted.window_start = hottest.window_start AND counted.num >= hottest.most
