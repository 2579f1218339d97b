//! `DescribeTopics`: rdkafka has no call for it, and no other answer of the brokers that it binds holds a topic's id.
//!
//! Each object of librdkafka is owned by a guard that destroys it once; pointers into the result are read before its
//! event is destroyed and never kept.
#![allow(unsafe_code, reason = "the only one of the crate: librdkafka is called by hand, see above")]

use std::{
    ffi::{CStr, CString, c_char},
    ptr::NonNull,
    slice,
    time::Duration,
};

use rdkafka::{
    bindings as sys,
    client::{Client, ClientContext},
    error::KafkaError,
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use uuid::Uuid;

use super::{PartitionInfo, Topic};
use crate::error::{Error, Result};

const WHAT: &str = "describe topics";

/// An object of librdkafka and the function that destroys it.
struct Guard<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Guard<T> {
    fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self> {
        NonNull::new(pointer).map(|pointer| Self(pointer, destroy)).ok_or_else(timed_out)
    }

    fn get(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the constructor that belongs to this destructor, and a guard drops once.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}

/// Describes topics by name; those that do not exist are left out. Blocks, at most `timeout`.
pub(crate) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    timeout: Duration,
) -> Result<Vec<Topic>> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<CString> = topics
        .iter()
        .map(|topic| CString::new(topic.as_str()).map_err(|_| Error::UnknownTopic(topic.clone())))
        .collect::<Result<_>>()?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let rk = client.native_ptr();
    // SAFETY: `rk` lives as long as `client`, `names` outlives `pointers`, librdkafka copies the names, and the result
    // is read while `event` is alive.
    unsafe {
        let collection = Guard::new(
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )?;
        let options = Guard::new(
            sys::rd_kafka_AdminOptions_new(rk, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            sys::rd_kafka_AdminOptions_destroy,
        )?;
        let mut message = [0; 256];
        sys::rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, message.as_mut_ptr(), message.len());
        let queue = Guard::new(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy)?;
        sys::rd_kafka_DescribeTopics(rk, collection.get(), options.get(), queue.get());
        // The request has its own time-out and always answers; the second more is for that answer.
        let event = Guard::new(
            sys::rd_kafka_queue_poll(queue.get(), timeout_ms.saturating_add(1_000)),
            sys::rd_kafka_event_destroy,
        )?;
        check(sys::rd_kafka_event_error(event.get()))?;
        let result = sys::rd_kafka_event_DescribeTopics_result(event.get());
        if result.is_null() {
            return Err(timed_out());
        }
        let mut count = 0;
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        array(described, count).iter().filter_map(|topic| read_topic(*topic).transpose()).collect()
    }
}

/// One topic of the result; nothing when it does not exist.
///
/// # Safety
/// `topic` points into a result whose event is alive.
unsafe fn read_topic(topic: *const sys::rd_kafka_TopicDescription_t) -> Result<Option<Topic>> {
    // SAFETY: by the caller's promise; librdkafka's accessors give pointers that live as long as the result.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        match sys::rd_kafka_error_code(error) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => return Ok(None),
            code => check(code)?,
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let mut partitions: Vec<_> =
            array(partitions, count).iter().map(|partition| read_partition(*partition)).collect();
        partitions.sort_by_key(|partition| partition.id);
        Ok(Some(Topic {
            name: CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned(),
            id: Uuid::from_u64_pair(
                sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned(),
                sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned(),
            ),
            partitions,
        }))
    }
}

/// # Safety
/// `partition` points into a result whose event is alive.
unsafe fn read_partition(partition: *const sys::rd_kafka_TopicPartitionInfo_t) -> PartitionInfo {
    // SAFETY: by the caller's promise; the leader may be null, which is checked.
    unsafe {
        let (mut replicas, mut in_sync) = (0, 0);
        sys::rd_kafka_TopicPartitionInfo_replicas(partition, &raw mut replicas);
        sys::rd_kafka_TopicPartitionInfo_isr(partition, &raw mut in_sync);
        let leader = sys::rd_kafka_TopicPartitionInfo_leader(partition);
        PartitionInfo {
            id: sys::rd_kafka_TopicPartitionInfo_partition(partition),
            leader: (!leader.is_null()).then(|| sys::rd_kafka_Node_id(leader)).filter(|id| *id >= 0),
            replicas,
            in_sync,
        }
    }
}

/// librdkafka's arrays as slices; an empty one may be a null pointer.
///
/// # Safety
/// `first` points to `count` values that live as long as the result, or is null.
unsafe fn array<'a, T>(first: *mut T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: by the caller's promise.
    unsafe { slice::from_raw_parts(first, count) }
}

fn check(code: RDKafkaRespErr) -> Result<()> {
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(Error::from_kafka(WHAT, KafkaError::MetadataFetch(code.into()))),
    }
}

fn timed_out() -> Error {
    Error::Unavailable { what: WHAT, source: KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut) }
}
