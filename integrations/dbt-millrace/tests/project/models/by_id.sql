{{ config(indexes=[{'columns': ['n']}], options={'retain_history': '1 minute'}) }}
SELECT id, count(*) AS n, sum(value) AS total FROM {{ ref('readings') }} GROUP BY id
