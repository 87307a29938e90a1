SELECT place, count(*) AS sensors FROM {{ ref('sensors') }} GROUP BY place
