//! Objects of the catalog: their schemas, their bytes and who depends on whom.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use millrace_types::{Concealed, ObjectId, PartitionId, SqlType};

use super::*;
use crate::session;

fn column(name: &str, sql_type: SqlType, computed: Option<&str>) -> SourceColumn {
    SourceColumn {
        name: name.into(),
        sql_type,
        computed: computed.map(str::to_owned),
        not_null: name == "id",
    }
}

fn source() -> Source {
    let list = SqlType::Array(Box::new(SqlType::Numeric(Some((10, 2)))));
    Source {
        columns: vec![
            column("id", SqlType::BigInt, None),
            column("ts", SqlType::TimestampTz, Some("to_timestamp(time)")),
            column("time", SqlType::Double, None),
            column("list", list, None),
            column("n", SqlType::Numeric(None), None),
        ],
        include: vec![Include { kind: IncludeKind::Key, name: "k".into() }],
        watermark: Some(SourceWatermark { column: 1, delay_us: 1_000_000 }),
        connector: "kafka".into(),
        options: [("topic".to_owned(), "iot".to_owned())].into(),
        secrets: [("properties.sasl.password".to_owned(), ObjectId(7))].into(),
        start: vec![(PartitionId(0), 5), (PartitionId(3), -2)],
        identity: Some("dhz1lQXbQmW8cDXhBJq9Wg".into()),
        format: "PLAIN".into(),
        encode: "CSV".into(),
        key: vec!["id".into()],
    }
}

fn object(id: u32, name: &str, kind: Kind) -> Object {
    let mut access = Access::of(RoleId(3));
    access.acl.grant(None, Privileges::from_iter([Privilege::Select]));
    Object { id: ObjectId(id), name: name.into(), kind, sql: format!("CREATE {name}"), access }
}

fn view(depends_on: &[u32]) -> Kind {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int32, true)]));
    let depends_on = depends_on.iter().copied().map(ObjectId).collect();
    Kind::View(View { query_text: "SELECT 1 AS x".into(), depends_on, schema })
}

#[test]
fn schemas_have_hidden_columns_last() {
    let names = |schema: &Schema| {
        schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&source().full_schema()), "id ts time list n k _partition _offset");
    assert_eq!(names(&source().chunk_schema()), "id time list n k _partition _offset");
    let object = object(1, "s", Kind::Source(source()));
    assert_eq!(names(&object.visible_schema()), "id ts time list n k");
    assert!(!source().full_schema().field(0).is_nullable());
}

#[test]
fn objects_survive_their_bytes() {
    let functions = session::shared().task_ctx();
    let stored = object(7, "s", Kind::Source(source()));
    let read = Object::decode(&stored.encode().unwrap(), &functions).unwrap();
    let Kind::Source(found) = &read.kind else { panic!("another kind") };
    assert_eq!((found, read.id, &read.sql), (&source(), ObjectId(7), &stored.sql));
    let stored = object(8, "v", view(&[7]));
    let read = Object::decode(&stored.encode().unwrap(), &functions).unwrap();
    let (Kind::View(found), Kind::View(wanted)) = (&read.kind, &stored.kind) else {
        panic!("another kind")
    };
    assert_eq!(found, wanted);
}

#[test]
fn a_sink_survives_its_bytes_which_an_older_server_refuses() {
    let Kind::View(View { schema, .. }) = view(&[]) else { panic!("another kind") };
    let sink = Sink {
        from: ObjectId(2),
        connector: "kafka".into(),
        options: [("topic".to_owned(), "out".to_owned())].into(),
        secrets: [("properties.sasl.password".to_owned(), ObjectId(7))].into(),
        format: SinkFormat::Debezium,
        key: vec!["x".into()],
        max_lag_us: 5,
        unique: "0a".into(),
        schema,
    };
    let bytes = object(9, "k", Kind::Sink(sink.clone())).encode().unwrap();
    let read = Object::decode(&bytes, &session::shared().task_ctx()).unwrap();
    let Kind::Sink(found) = &read.kind else { panic!("another kind") };
    assert_eq!((found, read.depends_on()), (&sink, &[ObjectId(2)][..]));
    assert_eq!(bytes[..2], [0x08, 2], "the version");
}

#[test]
fn bytes_that_are_no_object_are_refused() {
    let functions = session::shared().task_ctx();
    let newer = [0x08, 0x63];
    assert!(matches!(Object::decode(&newer, &functions), Err(CatalogError::Version { found: 99 })));
    assert!(matches!(Object::decode(&[0x08, 1], &functions), Err(CatalogError::Damaged(_))));
    assert!(Object::decode(&[0xff; 9], &functions).is_err());
}

#[test]
fn dependants_are_found_over_others_in_order() {
    let catalog = Catalog::new()
        .with(object(1, "a", Kind::Source(source())))
        .with(object(2, "b", view(&[1])))
        .with(object(3, "c", view(&[])))
        .with(object(4, "d", view(&[2, 3])));
    assert_eq!(catalog.dependants(ObjectId(1)), [ObjectId(2), ObjectId(4)]);
    assert_eq!(catalog.dependants(ObjectId(4)), []);
    let smaller = catalog.without(ObjectId(2));
    assert!(smaller.find("b").is_none() && catalog.find("b").is_some());
}

#[test]
fn roles_secrets_and_grants_are_read_as_they_were_written() {
    let mut role = Role { id: RoleId(7), superuser: true, login: true, ..Role::new("ann") };
    role.inherits = false;
    role.connections_max = Some(0);
    role.valid_until = Some(-1);
    role.verifier = Some(Concealed::new("SCRAM-SHA-256$..."));
    role.member_of = [(RoleId(3), true), (RoleId(4), false)].into();
    role.defaults.grant(None, Privileges::from_iter([Privilege::Select]));
    role.defaults.grant(Some(RoleId(3)), Privileges::from_iter(Privileges::RELATION));
    assert_eq!(Role::decode(&role.encode()).unwrap(), role);
    assert_eq!(Role::decode(&Role::root().encode()).unwrap(), Role::root());
    let mut access = Access::of(RoleId(7));
    access.acl.grant(Some(RoleId(0)), Privileges::from_iter([Privilege::Usage]));
    assert_eq!(decode_acl(&encode_acl(&access)).unwrap(), access);
    let (id, name, value) = (ObjectId(9), "s".to_owned(), Concealed::new("x"));
    let secret = Secret { id, name, value, access };
    assert_eq!(Secret::decode(&secret.encode()).unwrap(), secret);
    for cut in 1..8 {
        // Damaged bytes are an error or something else, never a panic.
        drop(Role::decode(&role.encode()[cut..]));
        drop(Secret::decode(&secret.encode()[cut..]));
    }
}

#[test]
fn objects_keep_their_owner_and_grants_and_lose_passwords_that_were_stored_before() {
    let state = session::session_state(&session::Settings::default());
    let mut stored = object(1, "s", Kind::Source(source()));
    stored.sql = "CREATE SOURCE s WITH (properties.sasl.password = 'hunter2')".into();
    let read = Object::decode(&stored.encode().unwrap(), &state.task_ctx()).unwrap();
    assert_eq!(read.access, stored.access);
    assert_eq!(read.secrets().collect::<Vec<_>>(), [ObjectId(7)]);
    assert_eq!(read.sql, "CREATE SOURCE s WITH (properties.sasl.password = '********')");
}

#[test]
fn rights_are_inherited_where_roles_say_so_and_superusers_have_all() {
    let mut catalog = Catalog::new();
    let role = |id, name: &str, of: &[u32]| Role {
        id: RoleId(id),
        member_of: of.iter().map(|group| (RoleId(*group), false)).collect(),
        ..Role::new(name)
    };
    catalog.put_role(role(1, "top", &[]));
    catalog.put_role(role(2, "middle", &[1]));
    catalog.put_role(role(3, "heir", &[2]));
    catalog.put_role(Role { inherits: false, ..role(4, "other", &[2]) });
    catalog.put_role(Role { superuser: true, ..role(5, "boss", &[]) });
    catalog.put_role(role(6, "clerk", &[5]));
    let mut access = Access::of(RoleId(9));
    access.acl.grant(Some(RoleId(1)), Privileges::from_iter([Privilege::Select]));
    let reads = |id| catalog.allows(RoleId(id), &access, Privilege::Select);
    assert_eq!([1, 2, 3, 4, 5, 6].map(reads), [true, true, true, false, true, false]);
    assert!(!catalog.allows(RoleId(3), &access, Privilege::Insert));
    assert!(catalog.is_member(RoleId(4), RoleId(1)) && catalog.is_member(RoleId(6), RoleId(5)));
    assert!(!catalog.owns(RoleId(3), &access) && catalog.owns(RoleId::ROOT, &access));
    assert!(catalog.owns(RoleId(3), &Access::of(RoleId(1))));
}
