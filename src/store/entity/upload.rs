//! The row of one upload. Moments are milliseconds since 1970.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "uploads")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub owner: String,
    pub preset: String,
    pub state: String,
    pub version: i64,
    pub filename: String,
    pub content_type: String,
    pub metadata: String,
    pub size: Option<i64>,
    pub part_size: i64,
    pub part_checksum: Option<String>,
    pub auto_complete: bool,
    pub checksum: Option<String>,
    pub fingerprint: Option<String>,
    pub visibility: String,
    pub reserved: i64,
    pub bucket: String,
    pub object_key: String,
    pub s3_upload_id: Option<String>,
    pub target_size: Option<i64>,
    pub target_checksum: Option<String>,
    pub object_etag: Option<String>,
    pub object_version_id: Option<String>,
    pub object_checksum_algorithm: Option<String>,
    pub object_checksum: Option<String>,
    pub object_verified: Option<bool>,
    pub last_problem: Option<String>,
    pub last_problem_parts: Option<String>,
    pub abort_reason: Option<String>,
    pub failure: Option<String>,
    pub lease_until: Option<i64>,
    pub due_at: Option<i64>,
    pub attempts: i64,
    pub creations: i64,
    pub begun_at: Option<i64>,
    pub overdue_at: Option<i64>,
    pub asked_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub expires_at: i64,
    pub hard_expires_at: i64,
    pub urls_expire_at: Option<i64>,
    pub completed_at: Option<i64>,
    pub ended_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
