//! Uploads a file with openapi-generator's client for Rust: `cargo run FILE`

use std::io::SeekFrom;
use std::path::Path;

use partita_client::apis::Error;
use partita_client::apis::configuration::Configuration;
use partita_client::apis::uploads_api::{CreateUploadError, complete_upload, create_upload};
use partita_client::models::{CreateUploadRequest, PartUrlsRequest, Problem, upload::State};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

async fn upload(configuration: &Configuration, path: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let mut file = File::open(path).await?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let length = i64::try_from(file.metadata().await?.len())?;
    // [upload]
    let part_urls = Some(PartUrlsRequest { count: Some(1000), ..Default::default() }.into());
    let wanted = CreateUploadRequest { size: Some(length), part_urls, ..CreateUploadRequest::new(name) };
    let created = create_upload(configuration, wanted, None).await?;
    for part in created.part_urls {
        let mut bytes = vec![0; usize::try_from(part.size)?];
        file.seek(SeekFrom::Start(u64::try_from(part.offset)?)).await?;
        file.read_exact(&mut bytes).await?;
        let put = configuration.client.put(&part.url).headers((&part.headers).try_into()?);
        put.body(bytes).send().await?.error_for_status()?;
    }
    let id = created.upload.id.to_string();
    while complete_upload(configuration, &id, None).await?.state != State::Completed {}
    // [/upload]
    Ok(id)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let configuration = Configuration {
        base_path: std::env::var("PARTITA_SERVER").unwrap_or("http://127.0.0.1:8080".into()),
        bearer_access_token: std::env::var("PARTITA_TOKEN").ok(),
        ..Default::default()
    };
    let path = std::env::args().nth(1).ok_or("usage: upload-with-openapi-generator FILE")?;
    match upload(&configuration, Path::new(&path)).await {
        Ok(id) => println!("{id}"),
        Err(error) => match error.downcast::<Error<CreateUploadError>>().map(|error| *error) {
            Ok(Error::ResponseError(refusal)) => {
                // Its `entity` is a problem, too, but as the first of the statuses that have one, whichever was answered.
                let problem: Problem = serde_json::from_str(&refusal.content)?;
                eprintln!("{} {} {}", problem.code, problem.detail, problem.max_size.unwrap_or_default());
                std::process::exit(1);
            }
            Ok(error) => return Err(error.into()),
            Err(error) => return Err(error),
        },
    }
    Ok(())
}
