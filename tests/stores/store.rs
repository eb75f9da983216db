//! The stores, each with the settings that an operator would give for it.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::needed;

pub(super) struct Store {
    /// As the README calls it.
    pub(super) name: &'static str,
    endpoint: String,
    access_key: String,
    secret_key: String,
    pub(super) bucket: String,
    /// `s3.store`, and the capabilities that have to be said beside it.
    kind: &'static [(&'static str, &'static str)],
    /// The embedded S3 lives as long as its test.
    _folder: Option<TempDir>,
}

impl Store {
    /// The embedded S3, by itself: the service, and a sweep beside it, reach it as they reach any other store.
    pub(super) async fn embedded() -> Store {
        let folder = tempfile::tempdir().expect("a folder");
        let (access_key, secret_key, bucket) =
            ("AKTEST".to_owned(), "a secret of the tests".to_owned(), "partita".to_owned());
        let files = embedded_s3::Store::open(folder.path()).expect("a store");
        files.ensure_bucket(&bucket).expect("a bucket");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let credentials = embedded_s3::Credentials { access_key: access_key.clone(), secret_key: secret_key.clone() };
        tokio::spawn(embedded_s3::serve(listener, files, credentials, std::future::pending()));
        let kind = &[("PARTITA_S3_STORE", "aws")];
        Store { name: "embedded", endpoint, access_key, secret_key, bucket, kind, _folder: Some(folder) }
    }

    pub(super) fn seaweedfs() -> Store {
        Store::named("SeaweedFS 4.48", "SEAWEEDFS", &[("PARTITA_S3_STORE", "seaweedfs")])
    }

    /// SeaweedFS, of which the service has not been told what it can do.
    pub(super) fn of_unknown_kind() -> Store {
        Store::named("SeaweedFS 4.48", "SEAWEEDFS", &[("PARTITA_S3_STORE", "other")])
    }

    pub(super) fn ministack() -> Store {
        let kind = &[
            ("PARTITA_S3_STORE", "other"),
            ("PARTITA_S3_CAPABILITIES_CONDITIONAL_COMPLETION", "true"),
            ("PARTITA_S3_CAPABILITIES_OBJECT_SIZE_CHECK", "true"),
        ];
        Store::named("ministack 1.5.33", "MINISTACK", kind)
    }

    pub(super) fn garage() -> Store {
        Store::named("Garage 2.5.0", "GARAGE", &[("PARTITA_S3_STORE", "garage")])
    }

    fn named(name: &'static str, variables: &str, kind: &'static [(&'static str, &'static str)]) -> Store {
        let variable = |rest: &str| needed(&format!("PARTITA_TEST_{variables}{rest}"));
        Store {
            name,
            endpoint: variable(""),
            access_key: variable("_ACCESS_KEY"),
            secret_key: variable("_SECRET_KEY"),
            bucket: variable("_BUCKET"),
            kind,
            _folder: None,
        }
    }

    /// The environment of a service on this store.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let pairs = [
            ("PARTITA_S3_BUCKET", self.bucket.as_str()),
            ("PARTITA_S3_ENDPOINT", &self.endpoint),
            ("PARTITA_S3_REGION", "us-east-1"),
            ("PARTITA_S3_PATH_STYLE", "true"),
            ("AWS_ACCESS_KEY_ID", &self.access_key),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_key),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let pairs = pairs.into_iter().chain(self.kind.iter().copied());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A client of the store that owes nothing to the service: it looks, and does what others do, behind the service's back.
    pub(super) fn client(&self) -> Client {
        let credentials = Credentials::new(&self.access_key, &self.secret_key, None, None, "tests");
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .force_path_style(true)
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        Client::from_conf(config.build())
    }
}
