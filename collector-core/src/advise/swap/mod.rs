//! Swap, zram, and how the kernel gets free pages: missing, too large, thrashing; watermarks and huge pages.

mod huge;
mod missing;
mod thrash;
mod watermark;
mod zram;

use super::Rule;

pub(super) const RULES: &[Rule] =
    &[missing::MISSING, zram::TOO_LARGE, thrash::THRASHING, watermark::WATERMARK, huge::DEFRAG];
