//! Where AWS is, or what stands in for it.

use crate::client::Client;

/// How to reach AWS. Credentials come by the SDK's chain.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "AWS")]
pub struct Args {
    /// Where S3, SNS and SQS are, in place of AWS's own. Without it, AWS_ENDPOINT_URL, and for one of them
    /// AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_SNS or AWS_ENDPOINT_URL_SQS, as in every SDK.
    #[arg(long, value_name = "URL")]
    pub aws_endpoint_url: Option<String>,
    /// The region; without it, AWS_REGION, or that of the profile.
    #[arg(long, value_name = "REGION")]
    pub aws_region: Option<String>,
    /// Buckets in the path of an address and not in its host. Without it: where S3 is not AWS's own.
    #[arg(long, env = "MILLRACE_AWS_PATH_STYLE", value_name = "BOOL")]
    pub aws_path_style: Option<bool>,
}

impl Args {
    /// A client that has not connected yet.
    pub fn client(&self) -> Client {
        Client::new(self.clone())
    }
}
