//! How a client comes in: startup, password, and what the server tells before it is ready.

use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::{ClientError, Connection, Login, told};
use crate::scram::{METHOD, METHOD_BOUND};

/// Logs in; returns when the server is ready for a statement.
pub(super) async fn log_in(
    connection: &mut Connection,
    login: &Login,
    endpoint: Option<Vec<u8>>,
) -> Result<(), ClientError> {
    let parameters = [
        ("user", login.user.as_str()),
        ("database", login.database.as_str()),
        ("application_name", login.application.as_str()),
        ("client_encoding", "UTF8"),
    ];
    frontend::startup_message(parameters, &mut connection.outgoing)?;
    connection.flush().await?;
    loop {
        match connection.message().await? {
            Message::AuthenticationCleartextPassword => {
                let password = password(login)?;
                frontend::password_message(password.as_bytes(), &mut connection.outgoing)?;
                connection.flush().await?;
            }
            Message::AuthenticationSasl(body) => {
                scram(connection, login, &body, endpoint.clone()).await?;
            }
            Message::BackendKeyData(body) => {
                connection.key = Some((body.process_id(), body.secret_key()));
            }
            Message::ParameterStatus(body) if body.name()? == "server_version" => {
                body.value()?.clone_into(&mut connection.version);
            }
            Message::ErrorResponse(body) => {
                return Err(ClientError::Refused(Box::new(told(body.fields())?)));
            }
            Message::ReadyForQuery(_) => return Ok(()),
            Message::AuthenticationOk
            | Message::ParameterStatus(_)
            | Message::NoticeResponse(_) => {}
            _ => {
                return Err(ClientError::Protocol(
                    "the server asks for a login of another kind".into(),
                ));
            }
        }
    }
}

fn password(login: &Login) -> Result<&str, ClientError> {
    login.password.as_deref().ok_or(ClientError::PasswordNeeded)
}

/// The exchange that proves both sides know the password, bound to the certificate where it can be.
async fn scram(
    connection: &mut Connection,
    login: &Login,
    body: &AuthenticationSaslBody,
    endpoint: Option<Vec<u8>>,
) -> Result<(), ClientError> {
    let password = password(login)?;
    let offered: Vec<&str> = body.mechanisms().collect()?;
    let encrypted = endpoint.is_some();
    let bound = endpoint.filter(|_| offered.contains(&METHOD_BOUND));
    let (method, binding) = match bound {
        Some(endpoint) => (METHOD_BOUND, ChannelBinding::tls_server_end_point(endpoint)),
        // A server that can bind sees that somebody has taken its offer away.
        None if offered.contains(&METHOD) && encrypted => (METHOD, ChannelBinding::unrequested()),
        None if offered.contains(&METHOD) => (METHOD, ChannelBinding::unsupported()),
        None => return Err(ClientError::Protocol(format!("no login by {}", offered.join(", ")))),
    };
    let mut exchange = ScramSha256::new(password.as_bytes(), binding);
    frontend::sasl_initial_response(method, exchange.message(), &mut connection.outgoing)?;
    connection.flush().await?;
    match connection.message().await? {
        Message::AuthenticationSaslContinue(body) => exchange.update(body.data())?,
        other => return Err(refused(other)),
    }
    frontend::sasl_response(exchange.message(), &mut connection.outgoing)?;
    connection.flush().await?;
    match connection.message().await? {
        Message::AuthenticationSaslFinal(body) => Ok(exchange.finish(body.data())?),
        other => Err(refused(other)),
    }
}

fn refused(message: Message) -> ClientError {
    match message {
        Message::ErrorResponse(body) => match told(body.fields()) {
            Ok(told) => ClientError::Refused(Box::new(told)),
            Err(error) => error,
        },
        _ => ClientError::Protocol("the server breaks off the login".into()),
    }
}
