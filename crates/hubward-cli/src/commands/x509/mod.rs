//! `hubward x509`: creates certificates for labs, and checks certificates.

mod args;
mod authority;
mod describe;
mod device;
mod prove;
mod request;
mod verify;
mod written;

use clap::Subcommand;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum X509Command {
    /// Create a root authority (CA): a certificate and its key.
    #[command(after_help = "Example:
  hubward x509 new-ca --name lab-root --out-dir certs")]
    NewCa(authority::NewCaArgs),
    /// Create an intermediate authority (CA) that another authority signs.
    #[command(after_help = "Example:
  hubward x509 new-intermediate --name line-7 \\
      --issuer-cert certs/lab-root.pem --issuer-key certs/lab-root.key --out-dir certs")]
    NewIntermediate(authority::NewIntermediateArgs),
    /// Create the certificate and key of a device; self-signed without an issuer.
    #[command(after_help = "Examples:
  hubward x509 new-device --name pump-1 --issuer-cert certs/line-7.pem --issuer-key certs/line-7.key
  hubward x509 new-device --name pump-2                # self-signed, for an individual enrollment
  hubward x509 new-device --name old --not-before 2020-01-01 --not-after 2020-02-01   # expired

The file of the certificate contains the whole chain: the device first, then the certificates in the
file of the issuer.")]
    NewDevice(device::NewDeviceArgs),
    /// Create a certificate request (CSR) and its key.
    #[command(after_help = "Example:
  hubward x509 new-csr --name pump-1 --out-dir certs")]
    NewCsr(request::NewCsrArgs),
    /// Create the certificate that proves the possession of an authority's key.
    ///
    /// DPS and hubs show a verification code for an uploaded authority. The certificate has this code as its common
    /// name, and the authority signs it.
    #[command(after_help = "Example:
  hubward x509 prove --code 106A5SD242AF512B3498BD6098C4941E66R34H268DDB3288 \\
      --issuer-cert certs/lab-root.pem --issuer-key certs/lab-root.key --cert-out proof.pem")]
    Prove(prove::ProveArgs),
    /// Show the certificates of a file, and report every problem.
    #[command(after_help = "Examples:
  hubward x509 verify certs/pump-1.pem
  hubward x509 verify certs/pump-1.pem --key-file certs/pump-1.key --ca-file certs/lab-root.pem \\
      --registration-id pump-1

Ends with exit code 0 if there is no problem, otherwise with 2. Uses no network.")]
    Verify(verify::VerifyArgs),
}

pub(crate) async fn run(command: &X509Command, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        X509Command::NewCa(args) => authority::new_ca(args, output).await,
        X509Command::NewIntermediate(args) => authority::new_intermediate(args, output).await,
        X509Command::NewDevice(args) => device::run(args, output).await,
        X509Command::NewCsr(args) => request::run(args, output).await,
        X509Command::Prove(args) => prove::run(args, output).await,
        X509Command::Verify(args) => verify::run(args, output).await,
    }
}
