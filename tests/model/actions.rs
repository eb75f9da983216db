//! What happens in a sequence, and what the model makes of it for all uploads together.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;

use super::reference::{Answer, Call, Ending, OK, State, Time, UNHEARD, Upload};
use super::s3::{Down, Faults, Object, Op, Upset, When};

/// An idempotency key is kept for a day.
const KEY_LIFE: Time = 24 * 3_600;
/// Past a lease, a back-off, a transfer, an end, the cap, the life of a row. Never near a moment that matters: real time
/// passes, too.
const MOVES: [Time; 12] = [100, 100, 100, 100, 1_200, 1_200, 1_200, 7_200, 7_200, 90_000, 610_000, 2_700_000];
/// The most uploads of one sequence.
const UPLOADS: usize = 4;

/// What a creation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) planned: usize,
    pub(super) auto: bool,
    pub(super) urls: bool,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    /// S3 fails, or the service dies, while it is at it.
    Create {
        wish: Wish,
        key: Option<u8>,
        upset: Option<Upset>,
        death: Option<When>,
    },
    Call {
        upload: usize,
        call: Call,
        death: Option<(Op, When)>,
    },
    /// An abort while a part is on its way that makes S3 bring the upload back.
    AbortInFlight {
        upload: usize,
    },
    /// Sends a part by a URL that was handed out.
    Send {
        upload: usize,
        part: usize,
        bytes: u8,
    },
    Upset {
        upload: usize,
        op: Op,
        upset: Upset,
    },
    Down {
        upload: usize,
        op: Op,
        down: Down,
    },
    ListingDown,
    Heal,
    /// S3 drops the upload, as a lifecycle rule does.
    Drop {
        upload: usize,
    },
    /// Somebody else puts an object at the key.
    Foreign {
        upload: usize,
    },
    /// S3 finishes what it was still at work on.
    Land,
    Advance(Time),
    /// The service dies between two calls.
    Die,
    /// The sweeper comes by; it may die while it is at this upload.
    Sweep {
        death: Option<(usize, Op, When)>,
    },
}

/// All uploads, each with every state in which it may be.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) now: Time,
    pub(super) uploads: Vec<Vec<Upload>>,
    keys: BTreeMap<u8, (usize, Wish, Time)>,
    listing_down: bool,
}

/// What a step may come to for one upload.
pub(super) struct Expected {
    pub(super) upload: usize,
    pub(super) outcomes: Vec<(Answer, Upload)>,
}

impl Model {
    /// What the step may come to, for each upload that it touches. The clock and the keys move at once; uploads are as they
    /// were until one of the outcomes is chosen.
    pub(super) fn expect(&mut self, action: Action) -> Vec<Expected> {
        match action {
            Action::Create { wish, key, upset, death } => vec![self.create(wish, key, upset, death)],
            Action::Call { upload, call, death } => {
                let now = self.now;
                vec![self.of(upload, |upload| upload.outcomes(call, false, now, death))]
            }
            Action::AbortInFlight { upload } => {
                let now = self.now;
                vec![self.of(upload, |upload| {
                    let faults = upload.faults;
                    let lies = Faults { abort: Some(Down::Lies), list_parts: Some(Down::Lies), ..faults };
                    let mut upload = upload.clone();
                    upload.faults = lies;
                    let mut outcomes = upload.outcomes(Call::Abort, false, now, None);
                    outcomes.iter_mut().for_each(|(_, upload)| upload.faults = faults);
                    outcomes
                })]
            }
            Action::Send { upload, part, bytes } => vec![self.of(
                upload,
                quietly(|upload| {
                    if let Some(held) = &mut upload.s3.upload {
                        held[part] = Some(bytes);
                    }
                }),
            )],
            Action::Upset { upload, op, upset } => vec![self.of(
                upload,
                quietly(|upload| match op {
                    Op::Create => upload.faults.create = Some(upset),
                    _ => upload.faults.complete = Some(upset),
                }),
            )],
            Action::Down { upload, op, down } => vec![self.of(
                upload,
                quietly(|upload| match op {
                    Op::Abort => upload.faults.abort = Some(down),
                    Op::Head => upload.faults.head = Some(down),
                    _ => upload.faults.list_parts = Some(down),
                }),
            )],
            Action::ListingDown => {
                self.listing_down = true;
                self.all(quietly(|upload| upload.faults.list_uploads = Some(Down::Forbidden)))
            }
            Action::Heal => {
                self.listing_down = false;
                self.all(quietly(|upload| upload.faults = Faults::default()))
            }
            Action::Drop { upload } => vec![self.of(upload, quietly(|upload| upload.s3.upload = None))],
            Action::Foreign { upload } => {
                vec![self.of(upload, quietly(|upload| upload.s3.object = Some(Object::Foreign)))]
            }
            Action::Land => self.all(quietly(|upload| upload.land(true))),
            Action::Advance(seconds) => {
                self.now += seconds;
                let now = self.now;
                self.all(quietly(|upload| upload.land(upload.creations_have_landed(now))))
            }
            Action::Die => Vec::new(),
            Action::Sweep { death } => {
                let now = self.now;
                let swept = |index: usize, upload: &Upload| match death {
                    None => upload.outcomes(Call::Sweep, false, now, None),
                    Some((dying, op, when)) if dying == index => {
                        upload.outcomes(Call::Sweep, false, now, Some((op, when)))
                    }
                    // Swept before the sweeper died, or not.
                    Some(_) => {
                        let swept =
                            upload.outcomes(Call::Sweep, false, now, None).into_iter().map(|(_, upload)| upload);
                        swept
                            .chain([upload.clone()])
                            .flat_map(|upload| [(OK, upload.clone()), (UNHEARD, upload)])
                            .collect()
                    }
                };
                (0..self.uploads.len()).map(|index| self.of(index, |upload| swept(index, upload))).collect()
            }
        }
    }

    /// One upload per key: a repetition finds the first one's; a refusal leaves nothing under the key.
    fn create(&mut self, wish: Wish, key: Option<u8>, upset: Option<Upset>, death: Option<When>) -> Expected {
        let now = self.now;
        let is_refused = |upload: &Upload| {
            matches!(upload.state, State::Aborting(Ending::CreateRefused) | State::Ended(Ending::CreateRefused))
        };
        let bound = key.and_then(|key| self.keys.get(&key)).copied();
        let bound =
            bound.filter(|(upload, _, at)| now < at + KEY_LIFE && !self.uploads[*upload].iter().all(is_refused));
        let fresh = bound.is_none();
        let (index, first_wish) = match bound {
            Some((index, wish, _)) => (index, wish),
            None => {
                let faults = self.faults_of_new();
                self.uploads.push(vec![Upload::planned(wish.planned, wish.auto, now, faults)]);
                let index = self.uploads.len() - 1;
                key.map(|key| self.keys.insert(key, (index, wish, now)));
                (index, wish)
            }
        };
        if first_wish != wish {
            return self.of(index, |upload| vec![((422, "idempotency-key-reused"), upload.clone())]);
        }
        self.of(index, |upload| {
            let mut upload = upload.clone();
            let armed = upload.faults.create;
            upload.faults.create = upset.or(armed);
            let death = death.map(|when| (Op::Create, when));
            let mut outcomes = upload.outcomes(Call::Create { urls: wish.urls }, fresh, now, death);
            if upset.is_some() {
                outcomes.iter_mut().for_each(|(_, upload)| upload.faults.create = armed);
            }
            outcomes
        })
    }

    fn faults_of_new(&self) -> Faults {
        Faults { list_uploads: self.listing_down.then_some(Down::Forbidden), ..Faults::default() }
    }

    fn of(&self, upload: usize, outcomes: impl Fn(&Upload) -> Vec<(Answer, Upload)>) -> Expected {
        let mut outcomes: Vec<_> = self.uploads[upload].iter().flat_map(outcomes).collect();
        let first = outcomes.first().cloned();
        outcomes.sort();
        outcomes.dedup();
        // The one that is taken where nobody looks comes first.
        if let Some(at) = first.and_then(|first| outcomes.iter().position(|outcome| *outcome == first)) {
            outcomes.swap(0, at);
        }
        Expected { upload, outcomes }
    }

    fn all(&self, outcomes: impl Fn(&Upload) -> Vec<(Answer, Upload)>) -> Vec<Expected> {
        (0..self.uploads.len()).map(|upload| self.of(upload, &outcomes)).collect()
    }
}

/// What happens without the service's doing.
fn quietly(change: impl Fn(&mut Upload)) -> impl Fn(&Upload) -> Vec<(Answer, Upload)> {
    move |upload| {
        let mut upload = upload.clone();
        change(&mut upload);
        vec![(OK, upload)]
    }
}

/// Makes up sequences. Where the model leaves open what comes, it goes on from the first possibility; every step is one that
/// the model has an answer for in any state.
pub(super) struct Sequences;

impl ReferenceStateMachine for Sequences {
    type State = Model;
    type Transition = Action;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::default()).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Action> {
        let count = model.uploads.len();
        let is_creating = model.uploads.iter().any(|states| states[0].state == State::Creating);
        let mut steps: Vec<(u32, BoxedStrategy<Action>)> = vec![
            (
                if count == 0 {
                    400
                } else if count < UPLOADS {
                    10
                } else {
                    2
                },
                create().boxed(),
            ),
            (if is_creating { 30 } else { 8 }, prop::sample::select(MOVES.to_vec()).prop_map(Action::Advance).boxed()),
            (if is_creating { 20 } else { 7 }, Just(Action::Sweep { death: None }).boxed()),
            (3, Just(Action::Die).boxed()),
            (2, Just(Action::ListingDown).boxed()),
            (6, Just(Action::Heal).boxed()),
            (4, Just(Action::Land).boxed()),
        ];
        if count > 0 {
            for (upload, states) in model.uploads.iter().enumerate() {
                let weight = if states[0].is_over() { 5 } else { 60 };
                steps.push((weight, on_upload(upload, &states[0], model.now)));
                let death =
                    sweeper_death().prop_map(move |(op, when)| Action::Sweep { death: Some((upload, op, when)) });
                steps.push((2, death.boxed()));
            }
        }
        Union::new_weighted(steps).boxed()
    }

    fn apply(mut model: Model, action: &Action) -> Model {
        for Expected { upload, mut outcomes } in model.expect(*action) {
            model.uploads[upload] = vec![outcomes.swap_remove(0).1];
        }
        model
    }

    fn preconditions(model: &Model, action: &Action) -> bool {
        let upload = |index: usize| model.uploads.get(index).map(|states| &states[0]);
        match *action {
            Action::Create { upset: Some(Upset::Cut(When::Late)), .. } => true,
            Action::Create { .. } => model.uploads.len() < 2 * UPLOADS,
            Action::Call { upload: index, .. } | Action::Down { upload: index, .. } => upload(index).is_some(),
            Action::Upset { upload: index, op, upset } => upload(index).is_some_and(|upload| {
                // PutObject knows neither; nor does a success of it say anything that could be cut off.
                let put =
                    matches!(upset, Upset::Cut(_) | Upset::Unavailable | Upset::Forbidden | Upset::ConditionAfter);
                let create = !matches!(upset, Upset::DeniedAfter | Upset::ConditionAfter);
                if op == Op::Create { create } else { put || !upload.is_empty() }
            }),
            // Where the others would be when it dies nobody knows, unless nothing moves them.
            Action::Sweep { death: Some((index, ..)) } => {
                let mut others = model.uploads.iter().enumerate().filter(|(other, _)| *other != index);
                upload(index).is_some() && others.all(|(_, states)| states.iter().all(Upload::is_over))
            }
            Action::AbortInFlight { upload: index } => {
                upload(index).is_some_and(|upload| upload.s3.upload.is_some() && upload.may_be_sending(model.now))
            }
            Action::Send { upload: index, part, .. } => {
                upload(index).is_some_and(|upload| part < upload.planned && upload.may_be_sending(model.now))
            }
            Action::Drop { upload: index } => {
                upload(index).is_some_and(|upload| upload.s3.upload.is_some() && upload.s3.strays == 0)
            }
            Action::Foreign { upload: index } => {
                upload(index).is_some_and(|upload| upload.s3.object.is_none() && upload.s3.late_complete.is_none())
            }
            _ => true,
        }
    }
}

fn create() -> impl Strategy<Value = Action> {
    let wish = (
        prop_oneof![1 => Just(0_usize), 6 => Just(1), 1 => Just(2)],
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.7),
    );
    let wish = wish.prop_map(|(planned, auto, urls)| Wish { planned, auto, urls });
    let upset = prop::sample::select(vec![
        Upset::Cut(When::Never),
        Upset::Cut(When::AtOnce),
        Upset::Cut(When::Late),
        Upset::Cut(When::Late),
        Upset::Cut(When::Late),
        Upset::Unavailable,
        Upset::ErrorIn200,
        Upset::Truncated200,
        Upset::Forbidden,
    ]);
    let key = prop::option::weighted(0.6, 0..2_u8);
    (wish, key, prop::option::weighted(0.3, upset), prop::option::weighted(0.1, when()))
        .prop_map(|(wish, key, upset, death)| Action::Create { wish, key, upset, death })
}

fn sweeper_death() -> impl Strategy<Value = (Op, When)> {
    let op = prop::sample::select(vec![Op::Create, Op::Complete, Op::Abort, Op::Head, Op::ListParts, Op::ListUploads]);
    (op, when()).prop_map(|(op, when)| (op, only_what_stays(op, when)))
}

/// Only what changes something for good may come late.
fn only_what_stays(op: Op, when: When) -> When {
    if matches!(op, Op::Create | Op::Complete) || when != When::Late { when } else { When::Never }
}

fn when() -> impl Strategy<Value = When> + Clone {
    prop::sample::select(vec![When::Never, When::AtOnce, When::Late])
}

/// Most of what a client does makes sense: it sends parts before it completes.
fn on_upload(upload: usize, state: &Upload, now: Time) -> BoxedStrategy<Action> {
    let is_open = state.state == State::Open;
    let lacks = (0..state.planned).find(|part| state.s3.upload.is_some_and(|held| held[*part].is_none()));
    let (send, sign, complete_now) = match lacks {
        Some(_) if state.may_be_sending(now) => (40, 2, 6),
        Some(_) if is_open => (1, 30, 6),
        _ => (4, 4, 30),
    };
    let is_dropped = is_open && state.s3.upload.is_none() && !state.is_empty();
    let drop = if state.recorded.iter().any(Option::is_some) { 5 } else { 1 };
    let sync = if is_dropped { 20 } else { 4 };
    let next_part = lacks.unwrap_or(0);
    let call = move |call: Call| Action::Call { upload, call, death: None };
    let bytes = || prop_oneof![4 => Just(0_u8), 1 => Just(1)];
    let complete = || prop_oneof![3 => Just(None), 2 => Just(Some(0)), 1 => Just(Some(1))];
    let upset = prop::sample::select(vec![
        Upset::Cut(When::Never),
        Upset::Cut(When::AtOnce),
        Upset::Cut(When::Late),
        Upset::Unavailable,
        Upset::ErrorIn200,
        Upset::Truncated200,
        Upset::Forbidden,
        Upset::DeniedAfter,
        Upset::ConditionAfter,
    ]);
    let down = prop_oneof![
        3 => Just((Op::Head, Down::Forbidden)),
        1 => Just((Op::Head, Down::Unavailable)),
        3 => Just((Op::ListParts, Down::Forbidden)),
        2 => Just((Op::Abort, Down::Forbidden)),
        2 => Just((Op::Abort, Down::Lies)),
    ];
    let dying = prop_oneof![
        3 => (complete().prop_map(Call::Complete), prop::sample::select(vec![Op::Complete, Op::Complete, Op::Head, Op::ListParts, Op::Abort])),
        2 => (Just(Call::Abort), prop::sample::select(vec![Op::Abort, Op::Abort, Op::Head, Op::ListParts, Op::ListUploads])),
        1 => (Just(Call::Sync), Just(Op::ListParts)),
    ];
    prop_oneof![
        send => (prop_oneof![6 => Just(next_part), 1 => 0..2_usize], bytes()).prop_map(move |(part, bytes)| Action::Send { upload, part, bytes }),
        sign => Just(call(Call::Sign)),
        4 => (0..2_usize, 0..3_u8).prop_map(move |(part, bytes)| call(Call::Record { part, bytes })),
        sync => Just(call(Call::Sync)),
        complete_now => complete().prop_map(move |parts| call(Call::Complete(parts))),
        6 => Just(call(Call::Abort)),
        4 => Just(call(Call::Get)),
        2 => Just(call(Call::File)),
        5 => (dying, when()).prop_map(move |((call, op), when)| {
            Action::Call { upload, call, death: Some((op, only_what_stays(op, when))) }
        }),
        2 => Just(Action::AbortInFlight { upload }),
        8 => (Just(Op::Complete), upset.clone()).prop_map(move |(op, upset)| Action::Upset { upload, op, upset }),
        1 => (Just(Op::Create), upset).prop_map(move |(op, upset)| Action::Upset { upload, op, upset }),
        5 => down.prop_map(move |(op, down)| Action::Down { upload, op, down }),
        drop => Just(Action::Drop { upload }),
        3 => Just(Action::Foreign { upload }),
    ]
    .boxed()
}
