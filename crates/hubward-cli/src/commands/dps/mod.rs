//! `hubward dps …`: commands for operators of a DPS, named as in `az iot dps`.

mod certificate;
mod certificate_args;
mod create;
mod credential_policy;
mod delete;
mod device_key;
mod kind;
mod next;
mod registration;
mod settings;
mod show;
mod update;

use clap::{Args, Subcommand};
use hubward_service::{AdminPort, DpsService};

use self::certificate::CertificateCommand;
use self::kind::Kind;
use crate::az_args::AzArgs;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Output;
use crate::service_login::LoginArgs;
use crate::service_reach::Reached;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward dps enrollment create --enrollment-id dev-1 --attestation-type symmetrickey
  hubward dps enrollment list --output table
  hubward dps enrollment-group compute-device-key --enrollment-id line-7 --registration-id dev-9

The login is a policy's connection string in PROVISIONING_CONNECTION_STRING or a file (--login-file), or
a Microsoft Entra token (--bearer-token-file with --host). The commands work with a DPS in Azure and
with the emulator; `hubward emulator env` prints the emulator's login.")]
pub(crate) struct DpsCommands {
    #[command(subcommand)]
    command: DpsCommand,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    az: AzArgs,
}

#[derive(Debug, Subcommand)]
enum DpsCommand {
    /// Manage individual enrollments, each for one device.
    #[command(
        subcommand,
        after_help = "Examples:
  hubward dps enrollment create --enrollment-id dev-1
  hubward dps enrollment update --enrollment-id dev-1 --provisioning-status disabled
  hubward dps enrollment registration show --enrollment-id dev-1"
    )]
    Enrollment(EnrollmentCommand),
    /// Manage enrollment groups, each for any number of devices.
    ///
    /// The key of each device is derived from the key of its group.
    #[command(
        subcommand,
        after_help = "Examples:
  hubward dps enrollment-group create --enrollment-id line-7
  hubward dps enrollment-group compute-device-key --enrollment-id line-7 --registration-id dev-9
  hubward dps enrollment-group registration list --enrollment-id line-7 --output tsv"
    )]
    EnrollmentGroup(GroupCommand),
    /// Manage the CA certificates that issue the certificates of devices; emulator only.
    ///
    /// In Azure, these requests go to Azure Resource Manager, which hubward does not use: use `az` there. The
    /// emulator has one list for its DPS and its hubs.
    #[command(
        subcommand,
        after_help = "Examples:
  hubward dps certificate create --certificate-name root --path root.pem --emulator
  hubward dps certificate generate-verification-code --certificate-name root
  hubward dps certificate verify --certificate-name root --path proof.pem"
    )]
    Certificate(CertificateCommand),
}

#[derive(Debug, Subcommand)]
enum EnrollmentCommand {
    /// Create an enrollment; the service generates the keys unless they are given.
    #[command(after_help = "Examples:
  hubward dps enrollment create --enrollment-id dev-1
  hubward dps enrollment create --eid dev-1 --attestation-type x509 --certificate-path dev-1.pem
  hubward dps enrollment create --eid dev-1 --device-id Pump_1 --initial-twin-tags '{\"site\": \"a\"}'
  hubward dps enrollment create --eid dev-1 --primary-key-file one.key --secondary-key-file two.key")]
    Create(Box<create::CreateEnrollment>),
    /// Show an enrollment, with --show-keys including its keys.
    #[command(after_help = "Example:\n  hubward dps enrollment show --enrollment-id dev-1 --show-keys")]
    Show(show::ShowArgs),
    /// List the enrollments.
    #[command(after_help = "Example:\n  hubward dps enrollment list --output table")]
    List(show::ListArgs),
    /// Change the given settings of an enrollment; the other settings stay.
    #[command(after_help = "Examples:
  hubward dps enrollment update --enrollment-id dev-1 --provisioning-status disabled
  hubward dps enrollment update --enrollment-id dev-1 --secondary-certificate-path new.pem
  hubward dps enrollment update --enrollment-id dev-1 --reprovision-policy never --etag '\"4f00\"'")]
    Update(Box<update::UpdateEnrollment>),
    /// Delete an enrollment; the device identity stays at its hub.
    #[command(after_help = "Example:\n  hubward dps enrollment delete --enrollment-id dev-1")]
    Delete(delete::DeleteArgs),
    /// Manage the registration record of the device.
    #[command(subcommand, after_help = "Example:\n  hubward dps enrollment registration show --enrollment-id dev-1")]
    Registration(registration::OfEnrollment),
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// Create a group; the service generates the keys unless they are given.
    #[command(after_help = "Examples:
  hubward dps enrollment-group create --enrollment-id line-7
  hubward dps enrollment-group create --enrollment-id line-8 --certificate-path root.pem
  hubward dps enrollment-group create --eid line-7 --allocation-policy static --iot-hubs contoso.azure-devices.net")]
    Create(Box<create::CreateGroup>),
    /// Show a group, with --show-keys including its keys.
    #[command(after_help = "Example:\n  hubward dps enrollment-group show --enrollment-id line-7")]
    Show(show::ShowArgs),
    /// List the groups.
    #[command(after_help = "Example:\n  hubward dps enrollment-group list --output table")]
    List(show::ListArgs),
    /// Change the given settings of a group; the other settings stay.
    #[command(after_help = "Example:
  hubward dps enrollment-group update --enrollment-id line-7 --provisioning-status disabled")]
    Update(Box<update::UpdateGroup>),
    /// Delete a group; the identities of its devices stay at their hubs.
    #[command(after_help = "Example:\n  hubward dps enrollment-group delete --enrollment-id line-7")]
    Delete(delete::DeleteArgs),
    /// Manage the registration records of the group's devices.
    #[command(
        subcommand,
        after_help = "Example:\n  hubward dps enrollment-group registration list --enrollment-id line-7"
    )]
    Registration(registration::OfGroup),
    /// Derive a device's key from the group's key.
    ///
    /// With --enrollment-id the command reads the group's key from the service; with --key-file or --key it
    /// works offline.
    #[command(after_help = "Examples:
  hubward dps enrollment-group compute-device-key --enrollment-id line-7 --registration-id dev-9
  hubward dps enrollment-group compute-device-key --key-file group.key --registration-id dev-9")]
    ComputeDeviceKey(device_key::DeviceKeyArgs),
}

/// The data that every `dps` command needs.
struct Context<'a> {
    login: &'a LoginArgs,
    output: &'a Output,
}

impl Context<'_> {
    /// Returns a client and the host name of the DPS that the arguments or the variables select.
    async fn reach(&self) -> Result<Reached<DpsService>, Failure> {
        self.login.reach_dps().await
    }

    /// Like [`reach`](Self::reach), but returns only the client.
    async fn dps(&self) -> Result<DpsService, Failure> {
        Ok(self.reach().await?.service)
    }

    /// Returns the admin port of the emulator that the arguments or the variables select. Returns an error for a DPS in
    /// Azure.
    async fn admin(&self) -> Result<AdminPort, Failure> {
        let reached = self.reach().await?;
        reached.admin(self.login).await?.ok_or_else(|| {
            Failure::unsupported(format!(
                "the CA certificates of {} are managed by Azure Resource Manager, which hubward does not support",
                reached.host
            ))
            .hint("in Azure, use `az iot dps certificate`; for the emulator on this machine: --emulator")
        })
    }

    /// Returns an error if both a key and the login would come from standard input.
    fn one_stdin(&self, is_read_for_a_key: bool) -> Result<(), Failure> {
        if is_read_for_a_key && self.login.reads_stdin() {
            return Err(Failure::usage("standard input cannot hold both the login and a key")
                .hint("read one of them from a file"));
        }
        Ok(())
    }
}

pub(crate) async fn run(args: &DpsCommands, output: &Output) -> Result<ExitCode, Failure> {
    let output = output.with_query(args.az.query().await?);
    let context = Context { login: &args.login, output: &output };
    match &args.command {
        DpsCommand::Enrollment(command) => match command {
            EnrollmentCommand::Create(args) => create::enrollment(args, &context).await,
            EnrollmentCommand::Show(args) => show::show(Kind::Individual, args, &context).await,
            EnrollmentCommand::List(args) => show::list(Kind::Individual, args, &context).await,
            EnrollmentCommand::Update(args) => update::enrollment(args, &context).await,
            EnrollmentCommand::Delete(args) => delete::delete(Kind::Individual, args, &context).await,
            EnrollmentCommand::Registration(command) => registration::of_enrollment(command, &context).await,
        },
        DpsCommand::EnrollmentGroup(command) => match command {
            GroupCommand::Create(args) => create::group(args, &context).await,
            GroupCommand::Show(args) => show::show(Kind::Group, args, &context).await,
            GroupCommand::List(args) => show::list(Kind::Group, args, &context).await,
            GroupCommand::Update(args) => update::group(args, &context).await,
            GroupCommand::Delete(args) => delete::delete(Kind::Group, args, &context).await,
            GroupCommand::Registration(command) => registration::of_group(command, &context).await,
            GroupCommand::ComputeDeviceKey(args) => device_key::run(args, &context).await,
        },
        DpsCommand::Certificate(command) => certificate::run(command, &context).await,
    }
}
