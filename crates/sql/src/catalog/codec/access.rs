//! Roles, secrets and lists of grants as bytes.

use std::collections::BTreeMap;

use millrace_types::{Concealed, ObjectId};
use prost::Message;

use super::super::{Access, Acl, Privileges, Role, RoleId, Secret};
use super::CatalogError;

/// The version that is written.
const VERSION: u32 = 1;

/// One entry of a list.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GrantMessage {
    /// None is PUBLIC.
    #[prost(uint32, optional, tag = "1")]
    grantee: Option<u32>,
    #[prost(uint32, tag = "2")]
    privileges: u32,
}

/// What was granted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AclMessage {
    #[prost(message, repeated, tag = "1")]
    grants: Vec<GrantMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SchemaMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint32, tag = "2")]
    owner: u32,
    #[prost(message, optional, tag = "3")]
    acl: Option<AclMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct RoleMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint32, tag = "2")]
    id: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(bool, tag = "4")]
    superuser: bool,
    #[prost(bool, tag = "5")]
    creates_roles: bool,
    #[prost(bool, tag = "6")]
    inherits: bool,
    #[prost(bool, tag = "7")]
    login: bool,
    #[prost(uint32, optional, tag = "8")]
    connections_max: Option<u32>,
    #[prost(sint64, optional, tag = "9")]
    valid_until: Option<i64>,
    #[prost(string, optional, tag = "10")]
    verifier: Option<String>,
    #[prost(btree_map = "uint32, bool", tag = "11")]
    member_of: BTreeMap<u32, bool>,
    #[prost(message, optional, tag = "12")]
    defaults: Option<AclMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SecretMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint32, tag = "2")]
    id: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    value: String,
    #[prost(uint32, tag = "5")]
    owner: u32,
    #[prost(message, optional, tag = "6")]
    acl: Option<AclMessage>,
}

pub(super) fn acl_message(acl: &Acl) -> AclMessage {
    let grant = |(grantee, privileges): (Option<RoleId>, Privileges)| GrantMessage {
        grantee: grantee.map(|role| role.0),
        privileges: privileges.bits(),
    };
    AclMessage { grants: acl.entries().map(grant).collect() }
}

pub(super) fn acl_of(message: AclMessage) -> Acl {
    let mut acl = Acl::default();
    for grant in message.grants {
        let privileges = Privileges::from_bits(grant.privileges);
        if !privileges.is_empty() {
            acl.grant(grant.grantee.map(RoleId), privileges);
        }
    }
    acl
}

fn check(version: u32) -> Result<(), CatalogError> {
    match version > VERSION {
        true => Err(CatalogError::Version { found: version }),
        false => Ok(()),
    }
}

/// Whose the schema is, and who may make objects in it, for the metadata store.
pub fn encode_acl(access: &Access) -> Vec<u8> {
    let (owner, acl) = (access.owner.0, Some(acl_message(&access.acl)));
    SchemaMessage { version: VERSION, owner, acl }.encode_to_vec()
}

/// What [`encode_acl`] has written.
///
/// # Errors
/// See [`CatalogError`].
pub fn decode_acl(bytes: &[u8]) -> Result<Access, CatalogError> {
    let message = SchemaMessage::decode(bytes)?;
    check(message.version)?;
    let acl = message.acl.map(acl_of).unwrap_or_default();
    Ok(Access { owner: RoleId(message.owner), acl })
}

impl Role {
    /// This role for the metadata store.
    pub fn encode(&self) -> Vec<u8> {
        let message = RoleMessage {
            version: VERSION,
            id: self.id.0,
            name: self.name.clone(),
            superuser: self.superuser,
            creates_roles: self.creates_roles,
            inherits: self.inherits,
            login: self.login,
            connections_max: self.connections_max,
            valid_until: self.valid_until,
            verifier: self.verifier.as_ref().map(|verifier| verifier.reveal().to_owned()),
            member_of: self.member_of.iter().map(|(group, admin)| (group.0, *admin)).collect(),
            defaults: Some(acl_message(&self.defaults)),
        };
        message.encode_to_vec()
    }

    /// A role from the metadata store.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub fn decode(bytes: &[u8]) -> Result<Role, CatalogError> {
        let message = RoleMessage::decode(bytes)?;
        check(message.version)?;
        let member_of = message.member_of.into_iter();
        Ok(Role {
            id: RoleId(message.id),
            name: message.name,
            superuser: message.superuser,
            creates_roles: message.creates_roles,
            inherits: message.inherits,
            login: message.login,
            connections_max: message.connections_max,
            valid_until: message.valid_until,
            verifier: message.verifier.map(Concealed::new),
            member_of: member_of.map(|(group, admin)| (RoleId(group), admin)).collect(),
            defaults: message.defaults.map(acl_of).unwrap_or_default(),
        })
    }
}

impl Secret {
    /// This secret for the metadata store; its value is in it as it is.
    pub fn encode(&self) -> Vec<u8> {
        let message = SecretMessage {
            version: VERSION,
            id: self.id.0,
            name: self.name.clone(),
            value: self.value.reveal().to_owned(),
            owner: self.access.owner.0,
            acl: Some(acl_message(&self.access.acl)),
        };
        message.encode_to_vec()
    }

    /// A secret from the metadata store.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub fn decode(bytes: &[u8]) -> Result<Secret, CatalogError> {
        let message = SecretMessage::decode(bytes)?;
        check(message.version)?;
        let acl = message.acl.map(acl_of).unwrap_or_default();
        Ok(Secret {
            id: ObjectId(message.id),
            name: message.name,
            value: Concealed::new(message.value),
            access: Access { owner: RoleId(message.owner), acl },
        })
    }
}
