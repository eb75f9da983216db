//! Statements that end in bounded time, whatever the database does: one that neither answers nor goes away must not hold
//! up everybody who asks it.

use std::time::Duration;

use sea_orm::entity::prelude::async_trait;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, Statement, TransactionOptions, TransactionTrait,
};

/// Longer than a statement may wait for a connection or a lock; whatever takes longer than this gets no answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A connection, or a transaction, whose every statement ends in bounded time.
#[derive(Debug, Clone)]
pub(super) struct Bounded<C>(pub(super) C);

async fn bounded<T>(statement: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    let late = |_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout);
    tokio::time::timeout(ANSWER_WITHIN, statement).await.map_err(late).flatten()
}

#[async_trait::async_trait]
impl<C: ConnectionTrait> ConnectionTrait for Bounded<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        bounded(self.0.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        bounded(self.0.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        bounded(self.0.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        bounded(self.0.query_all_raw(statement)).await
    }
}

impl Bounded<DatabaseConnection> {
    pub(super) async fn begin(&self, options: TransactionOptions) -> Result<Bounded<DatabaseTransaction>, DbErr> {
        Ok(Bounded(bounded(self.0.begin_with_options(options)).await?))
    }
}

impl Bounded<DatabaseTransaction> {
    /// After an error nobody knows whether it was committed.
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        bounded(self.0.commit()).await
    }

    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        bounded(self.0.rollback()).await
    }
}
