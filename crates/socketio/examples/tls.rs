//! Socket.IO over TLS, with rustls, in an accept loop of the application's own.
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
//!     -subj /CN=localhost -addext subjectAltName=DNS:localhost -out cert.pem -keyout key.pem
//! cargo run -p socketio --example tls -- cert.pem key.pem
//! curl --cacert cert.pem 'https://localhost:3000/socket.io/?EIO=4&transport=polling'
//! ```
//!
//! Against clients that would hold connections open for nothing there are time limits here. What
//! `socketio::serve` has beside them is a limit of connections and one for answers that nobody reads.

use std::{future::Future, io, net::SocketAddr, path::Path, pin::pin, sync::Arc, time::Duration};

use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use socketio::{BoxError, EmitError, Peer, Server, Socket, SocketIo, handler::Data};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// How long a client may take for the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take for the head of a request, and how long a connection may be idle.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// What Socket.IO clients find here.
pub fn server() -> SocketIo {
    let io = SocketIo::new();
    io.on("echo", async |socket: Socket, Data(text): Data<String>| {
        socket.emit("echo", &text)?;
        // the answer, if the client wants one
        Ok::<_, EmitError>(socket.handshake().secure())
    });
    io
}

/// TLS 1.2 and 1.3 with the certificate and those that vouch for it, and its key, from PEM files.
pub fn config(certificates: &Path, key: &Path) -> Result<Arc<ServerConfig>, BoxError> {
    let certificates = CertificateDer::pem_file_iter(certificates)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    // Named, since rustls does not choose where several are built in.
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    // Browsers prefer HTTP/2, which hyper's `http1` does not speak.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves Socket.IO until the signal comes.
pub async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let tls = TlsAcceptor::from(config);
    let io = server();
    let socketio = io.service();
    // Requests are served until the clients have been told.
    let mut shutdown = pin!(async {
        shutdown.await;
        io.close().await;
    });
    let (stop, stopped) = watch::channel(());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, addr)) => {
                let (tls, socketio, stopped) = (tls.clone(), socketio.clone(), stopped.clone());
                // The handshake is in the task, too: nobody else waits for it.
                tokio::spawn(serve_connection(stream, addr, tls, socketio, stopped));
            }
            // Out of descriptors, or a client that has gone already. Others may come.
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop((listener, stopped));
    stop.send_replace(());
    // The last answers are on their way.
    let _ = timeout(Duration::from_secs(3), stop.closed()).await;
    Ok(())
}

async fn serve_connection(
    stream: TcpStream,
    addr: SocketAddr,
    tls: TlsAcceptor,
    socketio: Server<SocketIo>,
    mut stopped: watch::Receiver<()>,
) {
    // Small packets must not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%addr, %error, "TCP_NODELAY");
    }
    let accepted = tokio::select! {
        accepted = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => accepted,
        _ = stopped.changed() => return,
    };
    let stream = match accepted.unwrap_or_else(|elapsed| Err(elapsed.into())) {
        Ok(stream) => stream,
        // Anybody can cause this: it is no error of the server's.
        Err(error) => return tracing::debug!(%addr, %error, "TLS handshake"),
    };
    let service = service_fn(move |mut request: Request<Incoming>| {
        // so that handlers can have the client's address, and know that nobody listens
        let peer = Peer::new(addr).secure(true);
        request.extensions_mut().insert(peer);
        socketio.call(request)
    });
    let connection = http1::Builder::new()
        // hyper has a time limit only if it is given a clock
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        // else a client could fill 400 KiB with a head
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        // without this there are no WebSockets
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%addr, %error, "connection");
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut files = std::env::args_os().skip(1);
    let (Some(certificates), Some(key)) = (files.next(), files.next()) else {
        return Err("tls needs two PEM files: the certificates, and the key".into());
    };
    let config = config(certificates.as_ref(), key.as_ref())?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    serve(listener, config, async {
        drop(tokio::signal::ctrl_c().await)
    })
    .await?;
    Ok(())
}
