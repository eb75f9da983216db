//! How many calls an upload costs: counted, not measured.

use crate::report::Section;

/// Where it is counted.
pub(super) fn section() -> Section {
    Section {
        title: "Calls for an upload of 1,000 parts",
        about: "At the most 12 with every part recorded as it lands, 2 at the least; Companion's client makes 1,002 (one for each \
                URL, one to begin, one to complete). The count does not depend on the machine, so it is not measured here but kept \
                by the browser tests (`tests/browser`)."
            .into(),
        ..Section::default()
    }
}
