//! Names of types in messages.

use super::messages::shown_type;

#[test]
fn types_that_arrow_prints_have_postgresql_names() {
    use arrow::datatypes::DataType;
    for data_type in [
        DataType::Int64,
        DataType::Utf8,
        millrace_types::timestamptz(),
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
        DataType::Decimal128(10, 2),
        DataType::Float64,
        DataType::Boolean,
        DataType::Date32,
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
    ] {
        let wanted = crate::functions::type_name(&data_type);
        assert_eq!(shown_type(&data_type.to_string()), wanted, "{data_type}");
    }
}
