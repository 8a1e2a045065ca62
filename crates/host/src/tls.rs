//! The certificate of the listener: the configured one, or one of a local CA that is made for this installation.
//!
//! The CA stays in its folder, so that clients trust it once; the certificate is made anew at each start and its key never
//! touches a disk.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hearth_kernel::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Server;
use crate::exit::Exit;

/// The CA's certificate: what clients are told to trust.
pub const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
/// How long a made CA is good for.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a made certificate is good for: what browsers accept. A process runs less long than that.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(397 * 86_400);
/// Clocks of clients may be behind.
const BACKDATED: Duration = Duration::from_secs(86_400);

/// Takes TLS connections with the configured certificate, or one of the CA in `folder`.
///
/// # Errors
/// `Usage` when files cannot be read, do not fit together, or the folder cannot be written.
pub fn acceptor(server: &Server, folder: &Path, now: Timestamp) -> Result<TlsAcceptor, Exit> {
    let (chain, key) = if server.tls_certificate.as_os_str().is_empty() {
        made(&server.tls_names, folder, now)?
    } else {
        configured(&server.tls_certificate, &server.tls_key)?
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config
        .map_err(|error| Exit::usage(format!("the TLS certificate does not work: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn configured(certificate: &Path, key: &Path) -> Result<Chain, Exit> {
    let wrong = |path: &Path, error: rustls::pki_types::pem::Error| {
        Exit::usage(format!(
            "{} is not readable as PEM: {error}",
            path.display()
        ))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
    Ok((chain, key))
}

fn made(names: &[String], folder: &Path, now: Timestamp) -> Result<Chain, Exit> {
    let failed = |error: rcgen::Error| Exit::failed("no certificate can be made", &error);
    let issuer = authority(folder, now)?;
    let mut params = CertificateParams::new(names).map_err(|error| {
        Exit::usage(format!(
            "server.tls_names is not a list of names and addresses: {error}"
        ))
    })?;
    let name = names.first().map_or("hearth", String::as_str);
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut params, now, CERTIFICATE_LIFE);
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((vec![certificate.der().clone()], key.into()))
}

/// The CA of the folder, made when there is none.
fn authority(folder: &Path, now: Timestamp) -> Result<Issuer<'static, KeyPair>, Exit> {
    let (certificate, key) = (folder.join(CA_CERTIFICATE), folder.join(CA_KEY));
    let failed = |error: rcgen::Error| Exit::failed("the local CA does not work", &error);
    let usage = |path: &Path, error: std::io::Error| {
        Exit::usage(format!("{} cannot be used: {error}", path.display()))
    };
    crate::folder::refuse_shared(folder)?;
    if key.exists() {
        refuse_open(&key).map_err(|error| usage(&key, error))?;
        let pem = std::fs::read_to_string(&key).map_err(|error| usage(&key, error))?;
        let pair = KeyPair::from_pem(&pem).map_err(failed)?;
        if !certificate.exists() {
            let line = "is missing beside its key: put it back, or remove the key for a new CA";
            return Err(Exit::usage(format!("{} {line}", certificate.display())));
        }
        // What an issuer puts into a certificate is its name and its key, and both are the same as when it was made.
        return Ok(Issuer::new(ca_params(now), pair));
    }
    std::fs::create_dir_all(folder).map_err(|error| usage(folder, error))?;
    let params = ca_params(now);
    let pair = KeyPair::generate().map_err(failed)?;
    let made = params.self_signed(&pair).map_err(failed)?;
    // The key last: as long as it is not there, the CA is made again.
    let written = write(&certificate, made.pem().as_bytes(), 0o644);
    written.map_err(|error| usage(&certificate, error))?;
    write(&key, pair.serialize_pem().as_bytes(), 0o600).map_err(|error| usage(&key, error))?;
    tracing::info!(certificate = %certificate.display(), "local CA made, clients must trust it");
    Ok(Issuer::new(params, pair))
}

/// Whoever reads the authority's key can be any server to everybody who trusts it.
fn refuse_open(key: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if std::fs::metadata(key)?.permissions().mode() & 0o077 != 0 {
            let line = "others may read it; remove it for a new CA, or chmod 600 if nobody has";
            return Err(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                line,
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = key;
    Ok(())
}

fn ca_params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Hearth local CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, CA_LIFE);
    params
}

fn valid(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = now.since(Timestamp::EPOCH);
    params.not_before = epoch + since_epoch.saturating_sub(BACKDATED);
    params.not_after = epoch + since_epoch + life;
}

/// Writes a file beside its place and moves it there, so that it is whole or absent.
fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    // One that a crash has left may have another mode, or be a link: never written through.
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

/// Whether plain connections may be taken there: nobody else can read loopback.
#[must_use]
pub fn may_be_plain(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
