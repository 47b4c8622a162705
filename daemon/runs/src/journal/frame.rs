//! The bytes of a journal file. A file header, then frames; a frame is one batch of
//! events and is either whole and right, or not there.

use bytes::Bytes;
use cordon_proto::v1::Event;
use prost::Message as _;

/// Magic and version: another version is another program's business.
pub(super) const FILE_HEADER: &[u8; 16] = b"cordon-journal\x00\x01";
pub(super) const FRAME_HEADER: usize = 20;
/// Larger frames are neither written nor believed.
pub(super) const MAX_FRAME: usize = 96 << 20;

/// Length, checksum, first sequence number, count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    crc: u32,
    pub(super) first_seq: u64,
    pub(super) count: u32,
}

impl Head {
    /// None when no frame that this program wrote can begin like this.
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let (first_seq, rest) = rest.split_first_chunk::<8>()?;
        let count = rest.first_chunk::<4>()?;
        let head = Self {
            length: u32::from_le_bytes(*length) as usize,
            crc: u32::from_le_bytes(*crc),
            first_seq: u64::from_le_bytes(*first_seq),
            count: u32::from_le_bytes(*count),
        };
        // An event takes at least its length byte.
        let plausible = head.count > 0
            && head.length <= MAX_FRAME
            && head.count as usize <= head.length
            && head.first_seq.checked_add(u64::from(head.count)).is_some();
        plausible.then_some(head)
    }

    fn to_bytes(self) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        // The length was checked against MAX_FRAME, which fits.
        out[0..4].copy_from_slice(&(self.length as u32).to_le_bytes());
        out[4..8].copy_from_slice(&self.crc.to_le_bytes());
        out[8..16].copy_from_slice(&self.first_seq.to_le_bytes());
        out[16..20].copy_from_slice(&self.count.to_le_bytes());
        out
    }

    /// The sequence number after this frame.
    pub(super) fn next_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }

    fn checksum(&self, payload: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&(self.length as u64).to_le_bytes());
        crc.update(&self.first_seq.to_le_bytes());
        crc.update(&self.count.to_le_bytes());
        crc.update(payload);
        crc.finalize()
    }
}

/// Writes a batch into `buffer`, which is cleared first; false when it is too large.
pub(super) fn encode(buffer: &mut Vec<u8>, first_seq: u64, events: &[Event]) -> bool {
    buffer.clear();
    let payload: usize = events.iter().map(|e| e.encoded_len() + 10).sum();
    let Ok(count) = u32::try_from(events.len()) else { return false };
    if payload > MAX_FRAME || count == 0 {
        return false;
    }
    buffer.reserve(FRAME_HEADER + payload);
    buffer.resize(FRAME_HEADER, 0);
    for event in events {
        // A vector grows as needed: the only error of encoding cannot happen.
        if event.encode_length_delimited(buffer).is_err() {
            return false;
        }
    }
    let mut head = Head { length: buffer.len() - FRAME_HEADER, crc: 0, first_seq, count };
    head.crc = head.checksum(&buffer[FRAME_HEADER..]);
    buffer[..FRAME_HEADER].copy_from_slice(&head.to_bytes());
    true
}

/// The events of a frame; none when anything about it is wrong.
pub(super) fn decode(head: &Head, mut payload: Bytes) -> Option<Vec<Event>> {
    if payload.len() != head.length || head.checksum(&payload) != head.crc {
        return None;
    }
    let mut events = Vec::with_capacity((head.count as usize).min(4096));
    for seq in head.first_seq..head.next_seq() {
        let event = Event::decode_length_delimited(&mut payload).ok()?;
        if event.seq != seq {
            return None;
        }
        events.push(event);
    }
    payload.is_empty().then_some(events)
}
