//! Buckets, and the CORS and lifecycle rules they keep.

use s3s::dto::{
    AbortIncompleteMultipartUpload, Bucket as Row, CORSRule, CreateBucketInput, CreateBucketOutput, ExpirationStatus,
    GetBucketCorsOutput, GetBucketLifecycleConfigurationOutput, LifecycleExpiration, LifecycleRule as RuleDto,
    LifecycleRuleFilter, ListBucketsOutput, PutBucketCorsInput, PutBucketLifecycleConfigurationInput,
};
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, s3_error};

use crate::cors::{self, CorsRule};
use crate::store::{BucketRecord, LifecycleRule, Store, blocking, disk_error, timestamp};

pub(crate) async fn create(store: &Store, input: CreateBucketInput) -> S3Result<S3Response<CreateBucketOutput>> {
    let location = Some(format!("/{}", input.bucket));
    let store = store.clone();
    let created = blocking(move || store.create_bucket(&input.bucket).map_err(disk_error)).await?;
    if !created {
        return Err(s3_error!(BucketAlreadyOwnedByYou));
    }
    Ok(S3Response::new(CreateBucketOutput { location }))
}

pub(crate) fn list(store: &Store) -> ListBucketsOutput {
    let row = |bucket: &std::sync::Arc<crate::store::Bucket>| Row {
        name: Some(bucket.name().to_owned()),
        creation_date: Some(timestamp(bucket.record().created_ms)),
        ..Default::default()
    };
    ListBucketsOutput { buckets: Some(store.buckets().iter().map(row).collect()), ..Default::default() }
}

pub(crate) async fn put_cors(store: &Store, input: PutBucketCorsInput) -> S3Result<()> {
    let rule = |rule: CORSRule| CorsRule {
        allowed_origins: rule.allowed_origins,
        allowed_methods: rule.allowed_methods,
        allowed_headers: rule.allowed_headers.unwrap_or_default(),
        expose_headers: rule.expose_headers.unwrap_or_default(),
        max_age_seconds: rule.max_age_seconds,
    };
    let rules: Vec<_> = input.cors_configuration.cors_rules.into_iter().map(rule).collect();
    if rules.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    cors::validate(&rules).map_err(|reason| S3Error::with_message(S3ErrorCode::InvalidRequest, reason))?;
    change(store, &input.bucket, move |record| record.cors = rules).await
}

pub(crate) fn get_cors(store: &Store, bucket: &str) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let rules = store.bucket(bucket)?.record().cors.clone();
    if rules.is_empty() {
        return Err(s3_error!(NoSuchCORSConfiguration, "The CORS configuration does not exist"));
    }
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let rule = |rule: CorsRule| CORSRule {
        allowed_headers: some(rule.allowed_headers),
        allowed_methods: rule.allowed_methods,
        allowed_origins: rule.allowed_origins,
        expose_headers: some(rule.expose_headers),
        id: None,
        max_age_seconds: rule.max_age_seconds,
    };
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(rules.into_iter().map(rule).collect()) }))
}

pub(crate) async fn delete_cors(store: &Store, bucket: &str) -> S3Result<()> {
    change(store, bucket, |record| record.cors.clear()).await
}

pub(crate) async fn put_lifecycle(store: &Store, input: PutBucketLifecycleConfigurationInput) -> S3Result<()> {
    let rules = input.lifecycle_configuration.map(|configuration| configuration.rules).unwrap_or_default();
    if rules.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    let rules = rules.into_iter().map(read_rule).collect::<S3Result<Vec<_>>>()?;
    change(store, &input.bucket, move |record| record.lifecycle = rules).await
}

/// Refuses what could not be given back as it came.
fn read_rule(rule: RuleDto) -> S3Result<LifecycleRule> {
    let filter = rule.filter.unwrap_or_default();
    let narrow = filter.and.is_some()
        || filter.tag.is_some()
        || filter.object_size_greater_than.is_some()
        || filter.object_size_less_than.is_some();
    let moves = rule.transitions.is_some()
        || rule.noncurrent_version_transitions.is_some()
        || rule.noncurrent_version_expiration.is_some();
    let expiration = rule.expiration.unwrap_or_default();
    if narrow || moves || expiration.date.is_some() || expiration.expired_object_delete_marker.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "Lifecycle rules may have a prefix, expiry in days and abortion in days."
        ));
    }
    Ok(LifecycleRule {
        id: rule.id,
        enabled: rule.status.as_str() == ExpirationStatus::ENABLED,
        prefix: filter.prefix.or(rule.prefix).unwrap_or_default(),
        abort_after_days: rule.abort_incomplete_multipart_upload.and_then(|abort| abort.days_after_initiation),
        expire_after_days: expiration.days,
    })
}

pub(crate) fn get_lifecycle(
    store: &Store,
    bucket: &str,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let rules = store.bucket(bucket)?.record().lifecycle.clone();
    if rules.is_empty() {
        return Err(s3_error!(NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"));
    }
    let rules = Some(rules.into_iter().map(write_rule).collect());
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput { rules, ..Default::default() }))
}

fn write_rule(rule: LifecycleRule) -> RuleDto {
    let abort = |days| AbortIncompleteMultipartUpload { days_after_initiation: Some(days) };
    let expire = |days| LifecycleExpiration { days: Some(days), ..Default::default() };
    RuleDto {
        id: rule.id,
        status: ExpirationStatus::from_static(if rule.enabled {
            ExpirationStatus::ENABLED
        } else {
            ExpirationStatus::DISABLED
        }),
        filter: Some(LifecycleRuleFilter { prefix: Some(rule.prefix), ..Default::default() }),
        abort_incomplete_multipart_upload: rule.abort_after_days.map(abort),
        expiration: rule.expire_after_days.map(expire),
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: None,
        transitions: None,
    }
}

pub(crate) async fn delete_lifecycle(store: &Store, bucket: &str) -> S3Result<()> {
    change(store, bucket, |record| record.lifecycle.clear()).await
}

async fn change(store: &Store, bucket: &str, change: impl FnOnce(&mut BucketRecord) + Send + 'static) -> S3Result<()> {
    let bucket = store.bucket(bucket)?;
    blocking(move || bucket.change_record(change).map_err(disk_error)).await
}
