// @ts-check

/**
 * How long ago this was made, in milliseconds. Two clocks are asked, since either may err: the wall clock is set by people
 * and servers, the other may stand still while the machine sleeps. The longer time counts, so that what may have expired
 * is taken for expired.
 *
 * @returns {() => number}
 */
export function stopwatch() {
  const wall = Date.now();
  const steady = performance.now();
  return () => Math.max(Date.now() - wall, performance.now() - steady);
}
