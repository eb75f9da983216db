//! Uploads a file with the client that progenitor makes at compile time: `cargo run FILE`

use std::io::SeekFrom;
use std::path::Path;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

progenitor::generate_api!(spec = "../../openapi/openapi.json", interface = Builder);
use types::{Problem, UploadState};

async fn upload(client: &Client, path: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let http = reqwest::Client::new();
    let mut file = File::open(path).await?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let length = i64::try_from(file.metadata().await?.len())?;
    // [upload]
    let first = types::PartUrlsRequest::builder().count(1000);
    let wanted = types::CreateUploadRequest::builder().filename(name).size(length).part_urls(Some(first.try_into()?));
    let created = client.create_upload().body(wanted).send().await?;
    for part in &created.part_urls {
        let mut bytes = vec![0; usize::try_from(part.size)?];
        file.seek(SeekFrom::Start(u64::try_from(part.offset)?)).await?;
        file.read_exact(&mut bytes).await?;
        http.put(&part.url).headers((&part.headers).try_into()?).body(bytes).send().await?.error_for_status()?;
    }
    let complete = client.complete_upload().upload_id(created.upload.id).body(types::CompleteUploadRequest::builder());
    while complete.clone().send().await?.state != UploadState::Completed {}
    // [/upload]
    Ok(created.upload.id.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = std::env::var("PARTITA_SERVER").unwrap_or("http://127.0.0.1:8080".into());
    let mut headers = HeaderMap::new();
    if let Ok(token) = std::env::var("PARTITA_TOKEN") {
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse()?);
    }
    let client = Client::new_with_client(&server, reqwest::Client::builder().default_headers(headers).build()?);
    let path = std::env::args().nth(1).ok_or("usage: upload-with-progenitor FILE")?;
    match upload(&client, Path::new(&path)).await {
        Ok(id) => println!("{id}"),
        Err(error) => match error.downcast::<progenitor_client::Error<Problem>>().map(|error| *error) {
            Ok(progenitor_client::Error::ErrorResponse(problem)) => {
                eprintln!("{} {} {}", problem.code, problem.detail, problem.max_size.unwrap_or_default());
                std::process::exit(1);
            }
            Ok(error) => return Err(error.into()),
            Err(error) => return Err(error),
        },
    }
    Ok(())
}
