{#
  A model is left as it is while its statement stays the same: its state is worth keeping, and it is current anyway.
  One that has changed is made anew only when that was asked for, as what stands on it goes with it.
#}
{% macro millrace_build(kind, text) %}
  {%- set target = this.incorporate(type=kind) -%}
  {%- set existing = adapter.current_kind(this) -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {%- if existing is not none and (should_full_refresh() or existing != kind) -%}
    {%- if existing != kind and not should_full_refresh() -%}
      {% do exceptions.raise_compiler_error(
        this ~ " is a " ~ adapter.keyword(existing) | lower ~ ", not a " ~ adapter.keyword(kind) | lower
        ~ ". `dbt run --full-refresh` drops it, with what stands on it, and makes it anew."
      ) %}
    {%- endif -%}
    {% do adapter.drop_relation(this.incorporate(type=existing)) %}
    {%- set existing = none -%}
  {%- endif -%}

  {%- if existing is none -%}
    {% call statement('main', auto_begin=False) %}
      {{ text }}
    {% endcall %}
    {% do millrace_create_indexes(target) %}
  {%- elif adapter.is_current(target, kind, text) -%}
    {% do store_raw_result(name='main', message='as it was', code='as it was', rows_affected='-1') %}
  {%- else -%}
    {% do exceptions.raise_compiler_error(
      this ~ " has changed. `dbt run --full-refresh --select " ~ this.identifier
      ~ "+` drops it, with what stands on it, and makes it anew from the history of its sources."
    ) %}
  {%- endif -%}

  {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target]}) }}
{% endmacro %}

{% macro millrace_create_indexes(relation) %}
  {%- for index in config.get('indexes', []) -%}
    {% call statement('index_' ~ loop.index, auto_begin=False) %}
      CREATE INDEX IF NOT EXISTS "{{ relation.identifier }}_{{ index.columns | join('_') }}"
      ON {{ relation }} ({{ index.columns | join(', ') }})
    {% endcall %}
  {%- endfor -%}
{% endmacro %}

{# `options` of a model: WITH (retention = '30 days'). Sorted, so that a statement stays the same. #}
{% macro millrace_options() %}
  {%- set options = config.get('options', {}) -%}
  {%- if options %}
WITH ({% for name, value in options | dictsort %}{{ name }} = '{{ value }}'{{ ', ' if not loop.last }}{% endfor %})
  {%- endif -%}
{% endmacro %}

{% materialization materialized_view, adapter='millrace' %}
  {%- set statement_text -%}
CREATE MATERIALIZED VIEW {{ this }} AS
{{ sql }}
{{ 'EMIT ON WINDOW CLOSE' if config.get('emit_on_window_close', false) }}
{{ millrace_options() }}
  {%- endset -%}
  {{ return(millrace_build('materialized_view', statement_text)) }}
{% endmaterialization %}

{% materialization source, adapter='millrace' %}
  {{ return(millrace_build('source', sql)) }}
{% endmaterialization %}

{% materialization sink, adapter='millrace' %}
  {{ return(millrace_build('sink', sql)) }}
{% endmaterialization %}

{% materialization view, adapter='millrace' %}
  {%- set statement_text -%}
CREATE VIEW {{ this }} AS
{{ sql }}
  {%- endset -%}
  {{ return(millrace_build('view', statement_text)) }}
{% endmaterialization %}

{# The answer of now. A table that is there keeps its columns and gets new rows, in one transaction. #}
{% materialization table, adapter='millrace' %}
  {%- set target = this.incorporate(type='table') -%}
  {%- set existing = adapter.current_kind(this) -%}
  {%- if existing is not none and existing != 'table' and not should_full_refresh() -%}
    {% do exceptions.raise_compiler_error(this ~ " is a " ~ adapter.keyword(existing) | lower
        ~ ", not a table. `dbt run --full-refresh` drops it, with what stands on it, and makes it anew.") %}
  {%- endif -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {%- if existing is not none and (existing != 'table' or should_full_refresh()) -%}
    {% do adapter.drop_relation(this.incorporate(type=existing)) %}
    {%- set existing = none -%}
  {%- endif -%}
  {%- if existing is none -%}
    {%- set shape = make_intermediate_relation(this).incorporate(type='view') -%}
    {# One that a run has left behind. #}
    {% do adapter.drop_relation(shape) %}
    {% call statement('shape', auto_begin=False) %} CREATE VIEW {{ shape }} AS {{ sql }} {% endcall %}
    {%- set columns = adapter.described_columns(shape) -%}
    {% do adapter.drop_relation(shape) %}
    {% call statement('create', auto_begin=False) %}
      CREATE TABLE {{ target }} (
        {%- for column in columns %}{{ adapter.quote(column.name) }} {{ column.type }}{{ ', ' if not loop.last }}{% endfor -%}
      )
    {% endcall %}
    {% do millrace_create_indexes(target) %}
  {%- endif -%}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {% call statement('delete') %} DELETE FROM {{ target }} {% endcall %}
  {% call statement('main') %} INSERT INTO {{ target }} {{ sql }} {% endcall %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {% do adapter.commit() %}
  {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}
