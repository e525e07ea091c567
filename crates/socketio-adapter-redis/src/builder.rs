//! How a connection to Redis is made.

use std::{fmt, time::Duration};

#[cfg(feature = "tls")]
use redis::Client;
#[cfg(feature = "tls")]
use redis::ConnectionInfo;
use redis::{IntoConnectionInfo, ProtocolVersion, RedisResult};
use tokio::runtime::Handle;

use crate::{
    cluster::Cluster,
    link::{Common, Link, away},
    lost::{Hook, Lost},
    redis::{ConnectError, Owner, Redis, Way},
};

/// How a [`Redis`] is made.
pub struct Builder {
    urls: Vec<String>,
    is_cluster: bool,
    #[cfg(feature = "tls")]
    root_certificate: Option<Vec<u8>>,
    max_queued: usize,
    dead_after: Duration,
    on_lost: Option<Hook>,
}

impl Builder {
    pub(crate) fn new<'a>(urls: impl IntoIterator<Item = &'a str>, is_cluster: bool) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            is_cluster,
            #[cfg(feature = "tls")]
            root_certificate: None,
            max_queued: 16 * 1024 * 1024,
            dead_after: Duration::from_secs(15),
            on_lost: None,
        }
    }

    /// How many bytes may wait to be written, in a Redis Cluster for each of its nodes; 16 MiB if it
    /// is not said. What comes on top is lost.
    #[must_use]
    pub fn max_queued(mut self, bytes: usize) -> Self {
        self.max_queued = bytes;
        self
    }

    /// How long Redis may be silent when it is asked something; 15 seconds if it is not said. Then
    /// the connection counts as lost, and a new one is made. It is asked at least every third part
    /// of this time.
    #[must_use]
    pub fn dead_after(mut self, time: Duration) -> Self {
        self.dead_after = time;
        self
    }

    /// Who alone may vouch for Redis with TLS, in PEM; those that the operating system trusts if it is
    /// not said.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redis = socketio_adapter_redis::Redis::builder("rediss://redis.example.com/")
    ///     .root_certificate(std::fs::read("ca.pem")?)
    ///     .connect()?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// A function that is told what is lost. It is called in a task of its own and may do whatever
    /// a task may do; what is lost meanwhile for the same reason it is told as one.
    #[must_use]
    pub fn on_lost(mut self, hook: impl Fn(&Lost) + Send + Sync + 'static) -> Self {
        self.on_lost = Some(Box::new(hook));
        self
    }

    /// See [`Redis::connect`].
    ///
    /// # Errors
    ///
    /// If the address is none, or there is no runtime.
    pub fn connect(self) -> Result<Redis, ConnectError> {
        let read = |url: &String| {
            let info = url.as_str().into_connection_info()?;
            let settings = info.redis_settings().clone();
            let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
            #[cfg(feature = "tls")]
            let info = self.with_tls(info)?;
            Ok(info)
        };
        let infos: RedisResult<Vec<_>> = self.urls.iter().map(read).collect();
        let infos = infos.map_err(ConnectError::Url)?;
        let Some(first) = infos.first().cloned() else {
            return Err(ConnectError::Url(away()));
        };
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let common = Common::new(runtime, self.dead_after, self.on_lost);
        let way = if self.is_cluster {
            Way::Cluster(Cluster::start(common.clone(), infos, self.max_queued))
        } else {
            Way::One(Link::start(&common, first, self.max_queued, None))
        };
        Ok(Redis::new(Owner { common, way }))
    }
}

#[cfg(feature = "tls")]
impl Builder {
    fn with_tls(&self, info: ConnectionInfo) -> RedisResult<ConnectionInfo> {
        if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            return Ok(info);
        }
        // rustls does not choose if an application has built it with several.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        if self.root_certificate.is_none() {
            return Ok(info);
        }
        let certificates = redis::TlsCertificates {
            client_tls: None,
            root_cert: self.root_certificate.clone(),
        };
        let client = Client::build_with_tls(info, certificates)?;
        Ok(client.get_connection_info().clone())
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_queued", &self.max_queued)
            .field("dead_after", &self.dead_after)
            .finish_non_exhaustive()
    }
}
