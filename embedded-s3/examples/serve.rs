//! Serves a folder as S3 on a loopback port: `serve DIR PORT ACCESS SECRET BUCKET`. Ends on Ctrl-C.

use std::error::Error;

use embedded_s3::{Credentials, Store, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, port, access_key, secret_key, bucket] =
        arguments.try_into().map_err(|_| "serve DIR PORT ACCESS SECRET BUCKET")?;
    let store = Store::open(dir)?;
    store.ensure_bucket(&bucket)?;
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    println!("http://{}", listener.local_addr()?);
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(listener, store, Credentials { access_key, secret_key }, interrupted).await?;
    Ok(())
}
