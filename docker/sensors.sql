-- What the dashboard "Sensors" shows: readings made inside the server, in windows of ten seconds.
-- For readings from Kafka, give the source these instead of its WITH clause:
--   WITH (connector = 'kafka', topic = 'iot', properties.bootstrap.server = 'kafka:29092')
--   FORMAT PLAIN ENCODE JSON
CREATE SOURCE IF NOT EXISTS readings (
    id BIGINT,
    value DOUBLE PRECISION,
    ts TIMESTAMPTZ,
    WATERMARK FOR ts AS ts - INTERVAL '1 second'
) WITH (
    connector = 'datagen',
    rows.per.second = '1000',
    fields.id.end = '20',
    fields.value.min = '15',
    fields.value.max = '30'
);

CREATE MATERIALIZED VIEW IF NOT EXISTS readings_10s AS
SELECT window_start, window_end, id, avg(value) AS mean, sum(value) AS total, min(value) AS low, max(value) AS high,
       count(*) AS n
FROM TUMBLE(readings, ts, INTERVAL '10 seconds')
GROUP BY window_start, window_end, id;
