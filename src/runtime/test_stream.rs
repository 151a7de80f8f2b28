//! tokio's pipe in memory as a connection, for tests.

use tokio::io::{DuplexStream, ReadHalf, WriteHalf};

use super::{Stream, StreamReader, StreamWriter};

impl Stream for DuplexStream {
    type Reader = ReadHalf<DuplexStream>;
    type Writer = WriteHalf<DuplexStream>;

    fn split(self) -> (Self::Reader, Self::Writer) {
        tokio::io::split(self)
    }
}

impl StreamReader for ReadHalf<DuplexStream> {}

impl StreamWriter for WriteHalf<DuplexStream> {
    fn reset(self) {}
}
