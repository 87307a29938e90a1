{{ config(materialized='view') }}
SELECT * FROM {{ ref('places') }} WHERE place = 'roof'
