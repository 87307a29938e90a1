{{ config(materialized='table') }}
SELECT place, sensors, sensors * 1.5 AS weighted FROM {{ ref('places') }}
