//! tokio-postgres, and sqllogictest's engines for PostgreSQL: `millrace-clients tokio | slt | sltx`.

mod feature;
mod slt;
mod tokio_client;

#[tokio::main]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("tokio") => tokio_client::run().await,
        Some("slt") => slt::run(slt::Engine::Simple).await,
        Some("sltx") => slt::run(slt::Engine::Extended).await,
        _ => panic!("millrace-clients tokio | slt | sltx"),
    }
}
