{{ config(materialized='source') }}
CREATE SOURCE {{ this }} (id BIGINT, value BIGINT) WITH (connector = 'datagen', rows.per.second = 1000,
    fields.id.kind = 'sequence', fields.id.start = 1, fields.id.end = 5, fields.value.min = 1, fields.value.max = 9)
