{% macro millrace__drop_relation(relation) -%}
  {% call statement('drop_relation', auto_begin=False) -%}
    DROP {{ adapter.keyword(relation.type) }} IF EXISTS {{ relation }} CASCADE
  {%- endcall %}
{%- endmacro %}

{% macro millrace__truncate_relation(relation) -%}
  {% call statement('truncate_relation') -%}
    DELETE FROM {{ relation }}
  {%- endcall %}
{%- endmacro %}

{% macro millrace__create_schema(relation) -%}
  {%- if relation.schema != 'public' -%}
    {% do exceptions.raise_compiler_error('There is one schema, public, not ' ~ relation.schema ~ '.') %}
  {%- endif -%}
{%- endmacro %}

{% macro millrace__drop_schema(relation) -%}
  {% do exceptions.raise_compiler_error('There is one schema, which stays.') %}
{%- endmacro %}

{# Kept by nobody yet. #}
{% macro millrace__alter_relation_comment(relation, comment) %}{% endmacro %}
{% macro millrace__alter_column_comment(relation, column_dict) %}{% endmacro %}
