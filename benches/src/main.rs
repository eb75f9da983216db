//! `benches/run` starts this; see there.

use std::process::ExitCode;

use benches::bench::Bench;
use benches::{Result, machine, null_s3, plain, postgres, raw, report, sections};

/// The service's own, for what of it is measured in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [role] if role == "null-s3" => return null_s3::serve().await,
        [role, kind, url, batches, parts] if role == "raw-batches" => {
            return raw::record(kind, url, batches, parts).await;
        }
        [role, url] if role == "plain-route" => return plain::serve(url).await,
        _ => {}
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| *argument != "--quick").collect();
    let everything = wanted.is_empty();
    let wanted = if everything { sections::NAMES.to_vec() } else { wanted };
    if let Some(unknown) = wanted.iter().find(|name| !sections::NAMES.contains(*name)) {
        return Err(format!("no section {unknown}: there are {}", sections::NAMES.join(", ")).into());
    }
    let at_start = machine::load_average();
    let bench = Bench::start(quick).await?;
    let mut measured = Vec::new();
    for name in wanted {
        eprintln!("measuring {name}");
        let section = sections::measure(&bench, name).await.inspect_err(|_| tell_last_words(&bench))?;
        println!("{}", section.text());
        measured.push(section);
    }
    let machine = machine::describe(&postgres::version());
    let text = report::report(&machine, &at_start, &machine::load_average(), &measured);
    // A report is of one run: a section measured by itself does not belong into it.
    if everything && !quick {
        // benches/run has gone to the root.
        std::fs::write("BENCHMARKS.md", text)?;
    }
    Ok(())
}

/// What the service said last of all: its log goes with the run's other data.
fn tell_last_words(bench: &Bench) {
    let log = std::fs::read_to_string(bench.folder.join("partita.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    eprintln!("{}", lines[lines.len().saturating_sub(10)..].join("\n"));
}
