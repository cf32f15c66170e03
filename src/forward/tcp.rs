//! Questions to one upstream over TCP, on one connection that stays open for the questions after.

use super::context::UpstreamContext;
use super::exchange_error::ExchangeError;
use super::message::{UpstreamQuestion, UpstreamReply};
use crate::lock::lock;
use hickory_proto::op::{DnsRequest, DnsRequestOptions};
use hickory_resolver::config::{ConnectionConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::{ConnectionProvider, PoolContext, TlsConfig};
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::time::timeout;

/// Questions that one TCP connection carries at once.
const MAX_PIPELINED: usize = 256;

/// A connection, as a handle to the task that drives it.
type TcpExchange = DnsExchange<TokioRuntimeProvider>;

/// The TCP connection to an upstream.
pub(super) struct TcpTransport {
    address: SocketAddr,
    connection: Mutex<Option<TcpExchange>>,
}

impl TcpTransport {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, connection: Mutex::default() }
    }

    /// Drops the connection: the next question makes a new one.
    pub(super) fn close(&self) {
        *lock(&self.connection) = None;
    }

    /// Asks over the open connection, else over a new one.
    pub(super) async fn exchange(
        &self,
        question: &UpstreamQuestion,
        with_edns: bool,
        context: &UpstreamContext,
    ) -> Result<UpstreamReply, ExchangeError> {
        let current = lock(&self.connection).clone();
        if let Some(exchange) = current {
            match self.over(exchange, question, with_edns, context).await {
                // Servers close idle connections, and only the next question shows that.
                Err(ExchangeError::Net(_)) => {}
                result => return result,
            }
        }
        let exchange = match timeout(context.timeout(), self.connect(context)).await {
            Ok(exchange) => exchange?,
            Err(_) => return Err(ExchangeError::Timeout),
        };
        self.over(exchange, question, with_edns, context).await
    }

    /// Asks over a connection, which is given up when it fails.
    async fn over(
        &self,
        exchange: TcpExchange,
        question: &UpstreamQuestion,
        with_edns: bool,
        context: &UpstreamContext,
    ) -> Result<UpstreamReply, ExchangeError> {
        let limit = context.timeout();
        let request = DnsRequest::new(question.to_message(with_edns), DnsRequestOptions::default());
        let result = match timeout(limit, exchange.send(request).first_answer()).await {
            Ok(Ok(response)) => Ok(response.into_parts().0),
            Ok(Err(NetError::Timeout)) | Err(_) => Err(ExchangeError::Timeout),
            Ok(Err(error)) => Err(error.into()),
        };
        match result {
            Ok(message) => UpstreamReply::read(question, message),
            Err(error) => {
                self.close();
                Err(error)
            }
        }
    }

    /// A new connection, which stays open for the questions after this one.
    async fn connect(&self, context: &UpstreamContext) -> Result<TcpExchange, NetError> {
        let mut options = ResolverOpts::default();
        options.timeout = context.timeout();
        options.max_active_requests = MAX_PIPELINED;
        let pool_context = PoolContext::new(options, TlsConfig::new()?);
        let mut config = ConnectionConfig::tcp();
        config.port = self.address.port();
        let provider = &context.provider;
        let exchange = provider.new_connection(self.address.ip(), &config, &pool_context)?.await?;
        *lock(&self.connection) = Some(exchange.clone());
        Ok(exchange)
    }
}
