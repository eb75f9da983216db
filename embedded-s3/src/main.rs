//! Serves a folder as S3 on a loopback port: `embedded-s3 DIR PORT BUCKET`, with the keys in `AWS_ACCESS_KEY_ID` and
//! `AWS_SECRET_ACCESS_KEY`. Ends on Ctrl-C. For trying a client, and for tests that kill it.

use std::error::Error;

use embedded_s3::{Credentials, Store, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, port, bucket] = arguments.try_into().map_err(|_| "usage: embedded-s3 DIR PORT BUCKET")?;
    let access_key = std::env::var("AWS_ACCESS_KEY_ID")?;
    let secret_key = std::env::var("AWS_SECRET_ACCESS_KEY")?;
    let store = Store::open(dir)?;
    store.ensure_bucket(&bucket)?;
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    println!("listening on {}", listener.local_addr()?);
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(listener, store, Credentials { access_key, secret_key }, interrupted).await?;
    Ok(())
}
