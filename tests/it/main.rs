//! Stories that cross services, on real parts: Kafka and Postgres of the local stack and the real binaries.

mod architecture;
