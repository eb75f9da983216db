// How the page looks and reads: no violation that axe finds, in any language, scheme and state; nothing that overflows.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAccessible } from "./support/axe.js";
import { openDemo } from "./support/browser.js";
import { MB, randomFile } from "./support/files.js";
import { startZeroSetup } from "./support/service.js";

test("axe finds no violation, in no state, scheme or language", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  const { page } = demo;
  await assertAccessible(page, "empty");

  const file = await randomFile(t, 60 * MB);
  await demo.choose(await randomFile(t, 3 * MB, "small.pdf"));
  await demo.untilState("completed");
  await page.locator("#stored .share").click();
  await page.locator("#stored .subject").fill("bob");
  await page.keyboard.press("Enter");
  await page.locator("#stored .shares li").waitFor();
  await page.locator(".scenes > summary").click();
  await demo.limitUpload(4 * MB);
  await demo.choose(file);
  await demo.untilState("sending", 2);
  await page.locator("#uploads .card:nth-child(2) .table summary").click();
  await demo.untilStored(2);
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    await page.emulateMedia({ colorScheme });
    for (const language of ["en", "de", "ar"]) {
      await page.selectOption("#language", language);
      await page.waitForTimeout(300); // colours change by and by
      await assertAccessible(page, `sending, ${colorScheme}, ${language}`);
    }
  }
  await page.selectOption("#language", "en");
  await demo.card(2).locator(".pause").click();
  await demo.untilState("paused", 2);
  await assertAccessible(page, "paused");
  await page.reload();
  await page.locator("#offers > .card").waitFor();
  await assertAccessible(page, "unfinished");
});

test("axe finds no violation in the dialog that asks for a token", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  const body = JSON.stringify({ code: "unauthenticated", title: "Who is calling?", status: 401 });
  await demo.page.route("**/v1/**", (route) => route.fulfill({ status: 401, contentType: "application/problem+json", body }));
  await demo.page.reload();
  await demo.page.locator("#token").waitFor();
  await assertAccessible(demo.page, "signing in");
});

test("Arabic runs from right to left: the page, its bars and its maps", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service, { locale: "ar-EG" });
  const { page } = demo;
  assert.equal(await page.evaluate(() => document.documentElement.dir), "rtl");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "ar");
  await demo.limitUpload(10 * MB);
  await demo.choose(await randomFile(t, 60 * MB));
  await demo.untilStored(3);
  const [brand, settings] = await Promise.all([page.locator(".brand").boundingBox(), page.locator(".settings").boundingBox()]);
  assert.ok(brand && settings && brand.x > settings.x, "the page's own name stands at the right");
  const [first, last] = await page.evaluate(() => {
    const cells = [...document.querySelectorAll("#uploads .cells span")].map((cell) => cell.getBoundingClientRect().x);
    return [cells[0], cells[cells.length - 1]];
  });
  assert.ok(first > last, "the first part stands at the right");
  const bar = await page.locator("#uploads .bar").boundingBox();
  const fill = await page.locator("#uploads .bar-fill").boundingBox();
  assert.ok(bar && fill && Math.abs(bar.x + bar.width - (fill.x + fill.width)) < 2 && fill.width < bar.width, "bars fill from the right");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  await demo.screenshot("sending-arabic");
});

test("every language has every text, and a visitor's own is found", async (t) => {
  /** @type {Record<string, Record<string, string>>} */
  const texts = {};
  for (const code of ["en", "de", "ar"]) texts[code] = (await import(`../../web-demo/page/languages/${code}.js`)).default;
  const values = (/** @type {string} */ text) => [...text.matchAll(/{(\w+)}/g)].map(([, name]) => name).filter((name) => name !== "count").sort();
  for (const [key, english] of Object.entries(texts.en)) {
    for (const code of ["de", "ar"]) {
      assert.ok(texts[code][key], `${code} lacks ${key}`);
      if (!/\.(one|two|few)$/.test(key)) assert.deepEqual(values(texts[code][key]), values(english), `${code} ${key}`);
    }
  }
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service, { locale: "de-AT" });
  assert.equal(await demo.page.locator("h1").textContent(), texts.de.tagline);
  const left = await demo.page.locator("[data-t]").evaluateAll((elements) => elements.filter((element) => !element.textContent).length);
  assert.equal(left, 0, "elements without their text");
});

test("a reduced motion is reduced, and forced colours keep the parts apart", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service, { reducedMotion: "reduce", forcedColors: "active" });
  const { page } = demo;
  await demo.limitUpload(10 * MB);
  await demo.choose(await randomFile(t, 60 * MB));
  await demo.untilStored(2);
  const durations = await page.evaluate(() =>
    [...document.querySelectorAll("*")].map((element) => getComputedStyle(element).transitionDuration).filter((each) => each !== "0s" && each !== ""));
  assert.deepEqual(durations, []);
  const colours = await page.evaluate(() =>
    ["stored", "pending"].map((state) => getComputedStyle(/** @type {Element} */ (document.querySelector(`#uploads .cells .${state}`))).backgroundColor));
  assert.notEqual(colours[0], colours[1]);
  await demo.screenshot("sending-forced-colours");
});

test("ten thousand parts are drawn as one map, and told in a few words", async (t) => {
  const service = await startZeroSetup(t);
  const demo = await openDemo(t, service);
  const { page } = demo;
  const shown = await page.evaluate(async () => {
    const path = "/page/part-map.js";
    const { PartMap } = await import(path);
    document.querySelector("main")?.insertAdjacentHTML("beforeend", '<div class="cells" id="cells" role="img"></div><canvas class="map" id="map" role="img"></canvas>');
    const [cells, canvas] = ["cells", "map"].map((id) => /** @type {HTMLElement} */ (document.getElementById(id)));
    const map = new PartMap(cells, canvas);
    map.setCount(10_000);
    for (let part = 1; part <= 4000; part++) map.setPart(part, "stored", 1);
    map.setPart(4001, "sending", 0.5, 2);
    await new Promise((resolve) => setTimeout(resolve, 200));
    map.describe();
    const { data } = /** @type {CanvasRenderingContext2D} */ (/** @type {HTMLCanvasElement} */ (canvas).getContext("2d")).getImageData(1, 1, 1, 1);
    return { cells: cells.childElementCount, runs: map.runs().length, label: canvas.ariaLabel, painted: data[3] > 0, height: canvas.clientHeight };
  });
  assert.deepEqual({ ...shown, height: 0 }, {
    cells: 0, runs: 3, label: "Parts: 5,999 waiting, 1 sending, 0 trying again, 4,000 stored", painted: true, height: 0,
  });
  assert.ok(shown.height <= 220, `${shown.height} px`);
});
