//! `partita openapi`: prints the OpenAPI document, as `openapi/openapi.json` holds it.

use std::error::Error;
use std::io::Write;

pub(super) fn run() -> Result<(), Box<dyn Error>> {
    let mut text = serde_json::to_string_pretty(&crate::http::document())?;
    text.push('\n');
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
