use std::{env, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use tokio::sync::OnceCell;

use crate::{Args, Error, Objects, Queue, Result, Topic};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take to begin: longer than a long poll.
const READ: Duration = Duration::from_secs(30);

/// S3, SNS and SQS. Nothing is asked for, neither credentials nor a region, before the first call. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    args: Args,
    sdk: OnceCell<Sdk>,
}

/// The SDK's clients.
pub(crate) struct Sdk {
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) sns: aws_sdk_sns::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
}

impl Client {
    pub(crate) fn new(args: Args) -> Self {
        Self(Arc::new(Inner { args, sdk: OnceCell::new() }))
    }

    /// Objects of S3.
    pub fn objects(&self) -> Objects {
        Objects::new(self.clone())
    }

    /// A queue of SQS, by its URL.
    pub fn queue(&self, url: impl Into<String>) -> Queue {
        Queue::new(self.clone(), url.into())
    }

    /// A topic of SNS, by its ARN.
    pub fn topic(&self, arn: impl Into<String>) -> Topic {
        Topic::new(self.clone(), arn.into())
    }

    /// For a call, `what` being its verb and `target` what it is about.
    pub(crate) async fn sdk(&self, what: &'static str, target: &str) -> Result<&Sdk> {
        self.0.sdk.get_or_try_init(|| connect(&self.0.args)).await.map_err(|NoRegion| Error::no_region(what, target))
    }
}

/// Nobody says where things are. Asked again with the next call: an instance's own service may not have answered.
struct NoRegion;

async fn connect(args: &Args) -> Result<Sdk, NoRegion> {
    let Args { aws_endpoint_url, aws_region, aws_path_style } = args;
    // The workspace has one implementation of cryptography, and the SDK's own choice is another.
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(READ).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(timeouts);
    if let Some(region) = aws_region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = aws_endpoint_url {
        loader = loader.endpoint_url(url);
    }
    let config = loader.load().await;
    if config.region().is_none() {
        return Err(NoRegion);
    }
    let elsewhere = config.endpoint_url().is_some() || env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(aws_path_style.unwrap_or(elsewhere)).build();
    Ok(Sdk {
        s3: aws_sdk_s3::Client::from_conf(s3),
        sns: aws_sdk_sns::Client::new(&config),
        sqs: aws_sdk_sqs::Client::new(&config),
    })
}
