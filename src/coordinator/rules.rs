//! The settings that the coordinator goes by, preset by preset.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::Error;
use crate::config::{DEFAULT_PRESET, MAX_URL_TTL, Preset, Settings};
use crate::store::Quota;
use crate::upload::names::KeyTemplate;
use crate::upload::{Invalid, Upload};

/// Where objects of ours are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// With what their keys begin.
    pub prefix: String,
}

/// The settings that the coordinator goes by.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) cacheable_window: Duration,
    pub(super) complete_wait: Duration,
    pub(super) quota: Quota,
    /// No place lies within another.
    pub(super) places: Vec<Place>,
    /// All but the default.
    presets: BTreeMap<String, PresetRules>,
    default: PresetRules,
}

/// What a preset comes to, with all that it leaves to the other settings.
#[derive(Debug, Clone)]
pub(super) struct PresetRules {
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) template: KeyTemplate,
    pub(super) max_size: i64,
    pub(super) part_url_ttl: Duration,
    pub(super) download_url_ttl: Duration,
    pub(super) idle_ttl: Duration,
    pub(super) max_ttl: Duration,
    /// As it is set: what objects get, and which types are allowed.
    pub(super) preset: Preset,
    max_url_ttl: Duration,
}

impl Rules {
    /// The rules of the settings, where uploads go into this bucket unless a preset names another.
    pub(super) fn new(settings: &Settings, bucket: &str) -> Rules {
        let mut presets = settings.presets();
        let rules_of = |preset: Preset| PresetRules::new(settings, preset, bucket);
        let default = rules_of(presets.remove(DEFAULT_PRESET).unwrap_or_default());
        let presets: BTreeMap<_, _> = presets.into_iter().map(|(name, preset)| (name, rules_of(preset))).collect();
        let mut places: Vec<Place> = Vec::new();
        for rules in presets.values().chain([&default]) {
            let place = Place { bucket: rules.bucket.clone(), prefix: rules.prefix.clone() };
            let lies_within =
                |inner: &Place, outer: &Place| inner.bucket == outer.bucket && inner.prefix.starts_with(&outer.prefix);
            if !places.iter().any(|known| lies_within(&place, known)) {
                places.retain(|known| !lies_within(known, &place));
                places.push(place);
            }
        }
        let limited = |most: i64| (most > 0 && !settings.is_without_auth()).then_some(most);
        let quota =
            Quota { open_uploads: limited(settings.limits.open_uploads), bytes: limited(settings.limits.bytes) };
        Rules {
            cacheable_window: settings.cacheable_window,
            complete_wait: settings.complete_wait,
            quota,
            places,
            presets,
            default,
        }
    }

    /// The preset that a client asks for, or that it gets unasked; of those only to which it is bound, if it is.
    pub(super) fn choose(
        &self,
        asked: Option<String>,
        bound: Option<&[String]>,
    ) -> Result<(String, &PresetRules), Error> {
        let name = match (asked, bound) {
            (Some(name), _) => name,
            (None, Some([only])) => only.clone(),
            (None, _) => DEFAULT_PRESET.to_owned(),
        };
        let is_allowed = bound.is_none_or(|bound| bound.contains(&name));
        match self.get(&name).filter(|_| is_allowed) {
            Some(rules) => Ok((name, rules)),
            None => Err(Error::PresetNotFound),
        }
    }

    /// The rules of an upload. If its preset is not there any more, those of the default.
    pub(super) fn of(&self, upload: &Upload) -> &PresetRules {
        self.get(&upload.preset).unwrap_or(&self.default)
    }

    fn get(&self, name: &str) -> Option<&PresetRules> {
        if name == DEFAULT_PRESET { Some(&self.default) } else { self.presets.get(name) }
    }

    /// The upload to which a key of our form belongs.
    pub(super) fn id_in(&self, bucket: &str, key: &str) -> Option<Uuid> {
        let id_in = |rules: &PresetRules| {
            key.strip_prefix(&rules.prefix).filter(|_| rules.bucket == bucket).and_then(|key| rules.template.id_in(key))
        };
        self.presets.values().chain([&self.default]).find_map(id_in)
    }
}

impl PresetRules {
    fn new(settings: &Settings, preset: Preset, bucket: &str) -> PresetRules {
        let largest = settings.s3.capabilities().max_object_size;
        PresetRules {
            bucket: preset.bucket.clone().unwrap_or_else(|| bucket.to_owned()),
            prefix: preset.prefix.clone().unwrap_or_else(|| settings.s3.prefix().to_owned()),
            template: preset.key.clone().unwrap_or_default(),
            max_size: preset.max_size.unwrap_or(largest).min(largest),
            part_url_ttl: preset.part_url_ttl.unwrap_or(settings.part_url_ttl),
            download_url_ttl: preset.download_url_ttl.unwrap_or(settings.download_url_ttl),
            max_url_ttl: preset.max_url_ttl.unwrap_or(MAX_URL_TTL),
            idle_ttl: settings.idle_ttl_of(&preset),
            max_ttl: settings.max_ttl_of(&preset),
            preset,
        }
    }

    /// How long a URL is to live: as asked for, or this long.
    ///
    /// # Errors
    /// When that is longer than this preset allows.
    pub(super) fn url_life(&self, asked: Option<Duration>, unasked: Duration) -> Result<Duration, Error> {
        match asked {
            Some(asked) if asked > self.max_url_ttl => {
                let detail = "longer than this preset allows";
                Err(Invalid::Request { field: "ttlSeconds".into(), detail }.into())
            }
            Some(asked) => Ok(asked),
            None => Ok(unasked.min(self.max_url_ttl)),
        }
    }

    /// For how long all are given the same URL, if one that is given at the end of it is still to live so long: at its
    /// beginning, too, no URL lives longer than this preset allows.
    pub(super) fn window(&self, window: Duration, life: Duration) -> Duration {
        window.min(self.max_url_ttl.saturating_sub(life))
    }
}
