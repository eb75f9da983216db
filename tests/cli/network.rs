//! A network that is slow, drops connections and falls silent costs time and nothing else.

use super::Machine;
use super::resuming::over;
use crate::support::rough::{Rough, Weather};
use crate::support::scripted_s3::Operation;
use crate::support::{MIB, Service};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_that_cuts_and_stalls_costs_nothing_but_time() {
    let rough = Rough::start().await;
    let service = over(&rough).await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 60 * MIB + 5);
    rough.weather(Weather {
        bytes_per_second: Some(40 << 20),
        cut_within: Some(24 << 20),
        stall_one_in: Some(4),
        ..Weather::default()
    });
    let ran = machine.run(&["upload", "film.mov", "--part-size", "5MiB", "--stall-timeout", "1s"]).await.ok();
    let [connections, cuts, stalls, _] = rough.seen();
    assert!(cuts > 0 && stalls > 0, "{connections} connections, {cuts} cut, {stalls} stalled");
    assert!(service.api.download(&ran.id()).await.1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_that_end_while_parts_wait_are_signed_again() {
    let rough = Rough::start().await;
    let address = rough.address;
    let service = Service::scripted(false, |settings| {
        rough.lead_to(settings.s3.endpoint.as_deref().expect("an endpoint"));
        settings.s3.public_endpoint = Some(format!("http://{address}"));
        // This S3 judges a URL when it has all of the part.
        settings.part_url_ttl = std::time::Duration::from_secs(4);
    })
    .await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 40 * MIB);
    rough.weather(Weather { bytes_per_second: Some(5 << 20), ..Weather::default() });
    let ran = machine.run(&["upload", "film.mov", "--part-size", "5MiB", "--parallel", "2"]).await.ok();
    assert_eq!(service.s3().count(Operation::UploadPart), 8, "no URL was used that had ended");
    assert!(service.api.download(&ran.id()).await.1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_restarts_is_waited_for() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 13 * MIB);
    let network = crate::support::proxy::Proxy::to(service.api.base.trim_start_matches("http://").to_owned()).await;
    network.cut();
    let server = format!("http://{}", network.address);
    let child = machine.command(&["upload", "film.mov", "--server", &server]).spawn().expect("started");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    network.mend();
    let ran = super::ended(child).await.ok().tells("the service does not answer");
    assert!(service.api.download(&ran.id()).await.1 == bytes);
}
