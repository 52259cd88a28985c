"use strict";
// Shows status.json, asks for it again every two seconds, and says clearly when that fails.
// All text goes in as text: nothing from the data is ever taken for markup.

const ASK_EVERY_MS = 2000, ASK_HIDDEN_MS = 15000, PATIENCE_MS = 8000, STALE_AFTER_MS = 9000;
const REPORT_EVERY_MS = 600_000, REPORT_AGAIN_MS = 30_000, REPORT_PATIENCE_MS = 40_000;
const OUTCOMES = ["completed", "skipped", "retrying", "failed"];
const SIGNS = {completed: "✓", skipped: "–", retrying: "↻", failed: "✕"};
const TONE_OF_OUTCOME = {completed: "good", skipped: "soft", retrying: "warn", failed: "bad"};
const VERDICTS = {
  working: ["▶", "Working", "good"], idle: ["●", "Idle", "calm"], limited: ["◐", "Limited", "warn"],
  stuck: ["■", "Stuck", "bad"], down: ["✕", "Down", "bad"],
};
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

// -- building blocks

function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function shape(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

function table(caption, headings, rows, empty) {
  if (!rows.length) return el("p", {class: "none"}, empty);
  const head = headings.map(([text, kind]) => el("th", {scope: "col", class: kind || null}, text));
  return el("table", {}, el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

const cell = (kind, ...children) => el("td", {class: kind || null}, ...children);
const rowHead = (...children) => el("th", {scope: "row"}, ...children);
const sign = (text, tone) => el("span", {class: `sign ${tone}`, "aria-hidden": "true"}, text);

function bar(share, label, tone) {
  const percent = Math.max(0, Math.min(100, 100 * share));
  const inner = el("span");
  inner.style.width = `${percent.toFixed(1)}%`;
  return el("span", {class: "bar", role: "meter", "aria-label": label, "aria-valuemin": 0,
    "aria-valuemax": 100, "aria-valuenow": percent.toFixed(0), "data-tone": tone}, inner);
}

const toneOf = (share) => share >= 1 ? "bad" : share >= 0.9 ? "warn" : "calm";

// -- words

const number = (value) => Number(value).toLocaleString("en");
const clock = (iso) => iso.slice(11, 19);

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.9995) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 10 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

const ago = (seconds) => seconds < 1 ? "now" : `${duration(seconds)} ago`;
const between = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;
const total = (minutes, names = OUTCOMES) =>
  minutes.reduce((sum, each) => sum + names.reduce((part, name) => part + each[name], 0), 0);

// -- parts

function verdict(status) {
  const [glyph, word, tone] = VERDICTS[status.verdict.state];
  const box = byId("verdict");
  box.dataset.tone = tone;
  box.dataset.state = status.verdict.state;
  box.replaceChildren(el("span", {class: `word ${tone}`}, sign(glyph, tone), word),
    el("span", {class: "sentence"}, status.verdict.sentence));
  document.title = `${word} · ${status.leads} · enricher`;
}

function notes(status) {
  const unknown = Object.entries(status.unknown);
  byId("notes").hidden = !unknown.length;
  byId("notes").textContent = unknown.map(([part, why]) => `${part} could not be read: ${why}`).join("; ");
}

function figures(status) {
  const alive = status.daemons.filter((each) => ["working", "stopping"].includes(each.presence));
  const sum = (name) => alive.reduce((all, each) => all + each[name], 0);
  const recent = status.hour.slice(-5), settled = total(recent);
  const waits = recent.filter((each) => each.waited_mean_seconds !== null);
  const mean = waits.length ? waits.reduce((all, each) => all + each.waited_mean_seconds * total([each]), 0) / total(waits) : null;
  const backlog = status.backlog, oldest = backlog && backlog.oldest_pending_seconds;
  const due = backlog ? backlog.due : null;
  const figure = (name, value, more, tone) => el("div", {}, el("dt", {}, name),
    el("dd", {class: `number ${tone || ""}`}, value), el("dd", {class: "more"}, more));
  const late = oldest !== null && oldest >= 60 ? "warn" : "";
  byId("figures").replaceChildren(
    figure("Due now", due === null ? "unknown" : dueFigure(backlog), "leads to be claimed"),
    figure("Oldest pending", oldest === null ? "–" : duration(oldest), oldest === null ? "nothing is pending" : "since it became work", late),
    figure("In work", number(sum("in_work")), `of ${number(sum("concurrency"))} at ${alive.length} ${alive.length === 1 ? "daemon" : "daemons"}`),
    figure("Settled", `${(settled / 5).toFixed(settled && settled < 50 ? 1 : 0)}/min`, `${number(total(status.hour))} in the last hour`),
    figure("Waiting time", duration(mean), "mean of 5 minutes"),
    figure("Change stream", status.stream.open ? duration(status.stream.lag_seconds) : "closed",
      status.stream.open ? `lag; open at ${status.stream.open} of ${alive.length}` : "leads are found by polling",
      status.stream.open || !alive.length ? "" : "warn"));
}

function providers(status) {
  const rows = status.providers.map((each) => {
    const limit = each.limit, share = limit ? limit.used / limit.calls : 0;
    const [glyph, word, tone] = standing(each, status.at);
    const per = limit && (limit.seconds === 60 ? "min" : duration(limit.seconds));
    const counted = (calls) => each.is_free ? "–" : number(calls);
    return el("tr", {"data-provider": each.name, "data-tone": tone},
      rowHead(each.name, el("span", {class: "narrow why"}, each.kind)),
      cell("wide soft", each.kind), cell("", sign(glyph, tone), el("span", {class: tone}, word)),
      cell("limit", limit ? `${number(Math.round(limit.used))} of ${number(limit.calls)}/${per}` : "none",
        limit ? bar(share, `limit of ${each.name} used in the last minute`, toneOf(share)) : null,
        limit && limit.shared_with.length ? el("span", {class: "why"}, `shared with ${limit.shared_with.join(", ")}`) : null,
        each.waiting ? el("span", {class: "narrow why"}, `${number(each.waiting)} waiting`) : null),
      cell("n wide", number(each.waiting)), cell("n wide", counted(each.today.calls)), cell("n wide", counted(each.today.charged)),
      cell("n wide", counted(each.today.saved)), cell("n wide", counted(each.month.charged)), cell("n wide", counted(each.month.saved)));
  });
  const off = Object.entries(status.without_key).map(([name, why]) => `${name} (${why})`).join(", ");
  byId("providers").replaceChildren(
    table("Providers, and how much of their limits was used in the last minute",
      [["provider"], ["kind", "wide"], ["state"], ["last minute", "limit"], ["waiting", "n wide"], ["calls today", "n wide"],
        ["charged", "n wide"], ["saved", "n wide"], ["charged this month", "n wide"], ["saved this month", "n wide"]],
      rows, "No vendor has a key: only local rules are applied."),
    off ? el("p", {class: "none"}, `Not asked: ${off}`) : "");
}

function standing(each, now) {
  if (each.hold) return ["‖", `held for ${duration(between(now, each.hold.until))}: ${each.hold.reason}`, "bad"];
  if (each.circuit === "open") return ["■", "circuit open: it fails for everybody", "bad"];
  if (each.circuit === "half-open") return ["◐", "half-open: tried one by one", "warn"];
  if (each.is_held) return ["‖", "held: the budget is used up", "warn"];
  if (each.paused_until) return ["◔", `asked to wait ${duration(between(now, each.paused_until))}`, "warn"];
  return ["✓", "asked", "good"];
}

function dueFigure(backlog) {
  const isMore = Object.values(backlog.lanes).some((lane) => lane.leads > backlog.most);
  return isMore ? `over ${number(backlog.due - 1)}` : number(backlog.due);
}

function counted(backlog, leads) {
  return leads > backlog.most ? `over ${number(backlog.most)}` : number(leads);
}

function backlog(status) {
  const box = byId("backlog"), found = status.backlog;
  if (!found) return box.replaceChildren(el("p", {class: "none"}, "It could not be read."));
  const statuses = Object.entries(found.statuses).map(([name, leads]) =>
    el("tr", {"data-status": name}, rowHead(name), cell("n", leads === null ? "many" : counted(found, leads))));
  const lanes = Object.entries(found.lanes).map(([name, lane]) =>
    el("tr", {"data-lane": name}, rowHead(name), cell("n", counted(found, lane.leads)), cell("n", duration(lane.oldest_seconds))));
  const unmoved = Object.entries(found.unmoved).map(([why, leads]) => `${number(leads)} ${why}`).join(", ");
  const parked = Object.entries(found.parked).map(([name, leads]) => `${counted(found, leads)} for ${name}`).join(", ");
  box.replaceChildren(sources(status), el("div", {class: "pair tables"},
    table("Leads that are work now, by lane", [["due now"], ["leads", "n"], ["oldest", "n"]], lanes, ""),
    table("Leads by status", [["status"], ["leads", "n"]], statuses, "")),
    parked ? el("p", {class: "none"}, `Retrying leads that wait for a provider: ${parked}`) : "",
    unmoved ? el("p", {class: "none"}, `Leads that nothing moves: ${unmoved}`) : "",
    el("p", {class: "none", id: "webhook"}, webhook(status)), rechecks(status));
}

function webhook(status) {
  const found = status.webhook;
  if (!found) return "webhook" in status.unknown ? "Webhook: unknown" : "Webhook: none is set";
  const since = (moment) => duration(Math.max(0, between(moment, status.at)));
  const waiting = found.waiting ? `${number(found.waiting)} events wait, the oldest for ${duration(found.oldest_seconds)}` : "it has every event";
  return [`Webhook at ${found.to}: ${waiting}`, found.given_up && `${number(found.given_up)} given up`,
    found.delivered_at && `last success ${since(found.delivered_at)} ago`,
    found.failing_since && `failing for ${since(found.failing_since)}`, found.error].filter(Boolean).join("; ");
}

function rechecks(status) {
  const found = status.rechecks;
  if (!found) return "";
  const rows = Object.entries(found.at_most).map(([name, {calls, credits, cost}]) => el("tr", {}, rowHead(name),
    cell("n", number(calls)), cell("n", number(credits)), cell("n wide", money(cost))));
  const all = (found.ceiling ?? null) === null ? "" : `; together they cost at most ${money(found.ceiling)}, by the ceiling of each lead`;
  return el("div", {id: "rechecks"},
    el("p", {class: "none"}, `Rechecks of thin leads: ${number(found.due)} due, ${number(found.coming)} within a day; ` +
      `${number(found.calls_today)} of ${number(found.calls_per_day)} calls made today${all}`),
    rows.length ? table("What rechecks that are due cost at most", [["provider"], ["calls", "n"], ["credits", "n"], ["cost", "n wide"]], rows, "") : "");
}

function sources(status) {
  if (!status.sources || status.sources.length < 2) return "";
  const rows = status.sources.map((each) => el("tr", {"data-collection": each.collection},
    rowHead(each.collection), cell("n", each.backlog ? dueFigure(each.backlog) : "unknown"),
    cell("n", each.backlog ? duration(each.backlog.oldest_pending_seconds) : "–"), cell("n", number(each.in_work)),
    cell("wide one", each.stream.open ? `open at ${each.stream.open}, lag ${duration(each.stream.lag_seconds)}` : "closed")));
  return table("Each collection of leads by itself; below are all of them together",
    [["collection"], ["due now", "n"], ["oldest pending", "n"], ["in work", "n"], ["change stream", "wide"]], rows, "");
}

function budgets(status) {
  const rows = status.budgets.flatMap((each) => [["today", each.daily], ["this month", each.monthly]]
    .filter(([, allowance]) => allowance)
    .map(([period, {calls, used, left}]) => {
      const share = calls ? used / calls : 1;
      return el("tr", {}, rowHead(each.vendor, el("span", {class: "narrow why"}, period)), cell("soft one wide", period),
        cell("limit", `${number(used)} of ${number(calls)}`, bar(share, `budget of ${each.vendor}, ${period}`, toneOf(share))),
        cell("n", left ? `${number(left)} left` : "used up"));
    }));
  byId("budgets").replaceChildren(table("Charged calls that budgets allow",
    [["vendor"], ["period", "wide"], ["used", "limit"], ["left", "n"]], rows, "No vendor has a budget: its charged calls are not limited."));
}

const money = (amount) => amount === null ? "–" : amount < 1 ? String(Number(amount.toPrecision(4))) : number(Number(amount.toFixed(2)));

const percent = (share) => share === null ? "–" : `${Math.round(100 * share)} %`;

function worth(report) {
  const rows = report.providers.map((each) => el("tr", {"data-worth": each.name}, rowHead(each.name),
    cell("n wide", number(each.calls)), cell("n wide", number(each.charged), each.ambiguous ? ` +${number(each.ambiguous)}?` : ""), cell("n", money(each.cost)),
    cell("n wide", percent(each.hit_rate)), cell("n", number(each.filled)), cell("n wide", number(each.agreed)), cell("n wide", number(each.differed)),
    cell("n", money(each.cost_per_field))));
  byId("worth").replaceChildren(
    table(`What was paid and what it brought: ${number(report.leads)} leads of the last ${report.days} days`,
      [["provider"], ["calls", "n wide"], ["charged", "n wide"], ["cost", "n"], ["found", "n wide"], ["fields", "n"], ["agreed", "n wide"], ["differed", "n wide"], ["per field", "n"]],
      rows, "No provider is set."),
    el("p", {class: "none"}, `${report.is_estimate ? "What leads tell is estimated from some of them. " : ""}Costs need <VENDOR>_CREDIT_PRICE. enricher report tells more.`));
}

function order(status) {
  const box = byId("order"), auto = status.order, found = auto || {kinds: reported ? reported.orders : [], changes: [], explored: [], next_at: null};
  if (!auto && !reported) return box.replaceChildren();
  const side = (each, word, names, bill) => el("tr", {"data-kind": each.kind, "data-side": word}, rowHead(each.kind), cell("soft", word),
    cell("why", names.join(", ")), cell("n wide", `${money(bill.cost)}${each.unit === "credits" ? " credits" : ""}`),
    cell("n wide", number(Math.round(bill.filled))), cell("n", money(bill.per_field)), cell("n wide", `${Math.round(100 * bill.guessed)} %`));
  const rows = found.kinds.flatMap((each) => [side(each, "today", each.today, each.before),
    ...(each.today.join() === each.proposed.join() ? [] : [side(each, each.is_clear ? "proposed" : "perhaps", each.proposed, each.after)])]);
  box.replaceChildren(
    table("What the order of asking costs and fills, and what the proposed one would: the last 30 days, without a call",
      [["kind"], [""], ["order"], ["cost", "n wide"], ["fields", "n wide"], ["per field", "n"], ["guessed", "n wide"]], rows, "Too little is known yet."),
    ...found.changes.slice(0, 5).map((each) => el("p", {class: "none"}, each)),
    found.explored.length ? el("p", {class: "none"}, `Explored, a few leads first: ${found.explored.join(", ")}`) : "",
    found.next_at ? el("p", {class: "none"}, `The next change is possible at ${found.next_at.slice(0, 16).replace("T", " ")} UTC.`) : "");
}

const PRESENCES = {working: ["▶", "good"], stopping: ["◐", "warn"], stopped: ["–", "soft"], silent: ["✕", "bad"]};

function daemons(status) {
  const rows = status.daemons.map((each) => {
    const [glyph, tone] = PRESENCES[each.presence], gone = ["stopped", "silent"].includes(each.presence);
    return el("tr", {"data-holder": each.holder},
      cell("id", each.holder), cell("one", sign(glyph, tone), el("span", {class: tone}, each.presence)),
      cell("n", gone ? "–" : `${number(each.in_work)} of ${number(each.concurrency)}`),
      cell("wide one", gone ? "–" : each.is_stream_open ? `open, lag ${duration(each.stream_lag_seconds)}` : "polling"),
      cell("n", ago(between(each.seen_at, status.at))),
      cell("n wide", duration(between(each.started_at, gone ? each.seen_at : status.at))), cell("n wide", each.version));
  });
  byId("daemons").replaceChildren(table("Daemons seen within the last hour",
    [["holder"], ["state"], ["in work", "n"], ["change stream", "wide"], ["seen", "n"], ["up for", "n wide"], ["version", "n wide"]],
    rows, "No daemon was seen within the last hour."));
}

function last(status) {
  const rows = status.last.map((each) => el("tr", {"data-lead": each.lead},
    cell("one soft", clock(each.at)), cell("id", each.collection ? `${each.collection}/${each.lead}` : each.lead),
    cell("one", sign(SIGNS[each.outcome], TONE_OF_OUTCOME[each.outcome]), each.outcome),
    cell("n wide", each.attempt), cell("n", duration(each.seconds)),
    cell("wide why", each.score === null ? each.why : `score ${each.score}`)));
  byId("last").replaceChildren(table("The last 50 claims that were settled",
    [["time"], ["lead"], ["outcome"], ["attempt", "n wide"], ["took", "n"], ["score or reason", "wide"]],
    rows, "Nothing was settled within the last hour."));
}

// -- charts

const HIGH = 150, LEFT = 44, RIGHT = 4, TOP = 8, BOTTOM = 20;
let wide = 600;  // as many units as there are pixels, so that the words keep their size

function frame(box, label, most, name) {
  wide = Math.max(240, Math.round(box.clientWidth));
  const svg = shape("svg", {viewBox: `0 0 ${wide} ${HIGH}`, role: "img", "aria-label": label});
  for (const share of [0, 0.5, 1]) {
    const y = HIGH - BOTTOM - share * (HIGH - TOP - BOTTOM);
    svg.append(shape("line", {x1: LEFT, x2: wide - RIGHT, y1: y, y2: y, class: share ? "grid" : "axis"}),
      shape("text", {x: LEFT - 6, y: y + 4, "text-anchor": "end"}, name(share * most)));
  }
  for (const [minute, text, anchor] of [[0, "60 min ago", "start"], [30, "30", "middle"], [60, "now", "end"]]) {
    svg.append(shape("text", {x: across(minute), y: HIGH - 4, "text-anchor": anchor}, text));
  }
  return svg;
}

const across = (minute) => LEFT + minute * (wide - LEFT - RIGHT) / 60;
const thick = () => Math.max(1.5, (wide - LEFT - RIGHT) / 60 - 1.6);
const up = (value, most) => (HIGH - TOP - BOTTOM) * value / most;

function rounded(value, least) {
  const target = Math.max(value, least), magnitude = 10 ** Math.floor(Math.log10(target));
  return [1, 2, 3, 4, 6, 8, 10].map((step) => step * magnitude).find((each) => each >= target * 0.9999);
}

function roundedSeconds(value) {  // above a minute in minutes, above an hour in hours
  const unit = value <= 60 ? 1 : value <= 3600 ? 60 : 3600;
  return unit * rounded(value / unit, unit === 1 ? 0.1 : 2);
}

function hatch() {
  const pattern = shape("pattern", {id: "hatched", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"});
  pattern.append(shape("rect", {width: 5, height: 5, class: "failed"}), shape("line", {x1: 0, x2: 0, y1: 0, y2: 5, class: "hatch"}));
  const kept = shape("defs");
  kept.append(pattern);
  return kept;
}

function settledChart(status) {
  const minutes = status.hour, most = rounded(Math.max(...minutes.map((each) => total([each]))), 4);
  const svg = frame(byId("settled"), `${number(total(minutes))} claims settled in the last hour, at most ${number(Math.max(...minutes.map((each) => total([each]))))} in a minute`,
    most, (value) => number(value));
  svg.append(hatch());
  minutes.forEach((each, index) => {
    const group = shape("g");
    group.append(shape("title", {}, `${each.at.slice(11, 16)}: ` + OUTCOMES.map((name) => `${each[name]} ${name}`).join(", ")));
    let base = HIGH - BOTTOM;
    for (const name of OUTCOMES) {
      const height = up(each[name], most);
      base -= height;
      const fill = name === "failed" ? {fill: "url(#hatched)"} : {class: name};
      if (height) group.append(shape("rect", {x: across(index) + 0.8, y: base, width: thick(), height, ...fill}));
    }
    svg.append(group);
  });
  const legend = OUTCOMES.map((name) => key(shape("rect", {width: 11, height: 11, class: name}), name, number(total(minutes, [name]))));
  byId("settled").replaceChildren(svg, el("ul", {class: "legend"}, ...legend));
}

function key(mark, name, value) {
  const svg = shape("svg", {"aria-hidden": "true"});
  svg.append(mark);
  return el("li", {}, svg, `${name} `, el("b", {}, value));
}

function waitingChart(status) {
  const minutes = status.hour, longest = Math.max(...minutes.map((each) => each.waited_longest_seconds));
  const most = roundedSeconds(longest), middle = 30 / 60;
  const svg = frame(byId("waiting"), `Time from a lead being work to its claim: at most ${duration(longest)} in the last hour`, most, (value) => value ? duration(value) : "0");
  let path = "", pen = "M";
  minutes.forEach((each, index) => {
    const group = shape("g"), height = up(each.waited_longest_seconds, most), mean = each.waited_mean_seconds;
    group.append(shape("title", {}, `${each.at.slice(11, 16)}: mean ${duration(mean)}, longest ${duration(each.waited_longest_seconds)}`),
      shape("rect", {x: across(index) + 0.8, y: HIGH - BOTTOM - height, width: thick(), height, class: "longest"}));
    if (mean !== null) {
      const x = across(index + middle), y = HIGH - BOTTOM - up(mean, most);
      path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      group.append(shape("circle", {cx: x, cy: y, r: 2, class: "dot"}));
    }
    pen = mean === null ? "M" : "L";
    svg.append(group);
  });
  svg.append(shape("path", {d: path || "M0 0", class: "mean"}));
  const now = minutes[minutes.length - 1].waited_mean_seconds ?? minutes[minutes.length - 2].waited_mean_seconds;
  byId("waiting").replaceChildren(svg, el("ul", {class: "legend"},
    key(shape("rect", {y: 4, width: 11, height: 3, class: "dot"}), "mean, now", duration(now)),
    key(shape("rect", {width: 11, height: 11, class: "longest"}), "longest of the hour", duration(longest))));
}

// -- the loop

const PARTS = [verdict, notes, figures, settledChart, waitingChart, providers, order, backlog, budgets, daemons, last];
const BOXES = {providers, order, backlog, budgets, daemons, last};
let shown = null, answeredAt = null, failingFor = "", timer = 0;

function isSelected(part) {
  const selection = getSelection(), box = byId(Object.keys(BOXES).find((id) => BOXES[id] === part));
  return Boolean(box) && !selection.isCollapsed && selection.containsNode(box, true);
}

let reported = null;

async function askReport() {  // what the leads tell costs the database more than the rest, and changes slowly
  if (document.hidden) return setTimeout(askReport, REPORT_AGAIN_MS);
  let again = REPORT_AGAIN_MS;
  try {
    const reply = await fetch("report.json", {cache: "no-store", signal: AbortSignal.timeout(REPORT_PATIENCE_MS)});
    if (reply.ok) {
      reported = await reply.json();
      worth(reported);
      if (shown) order(shown);
      again = REPORT_EVERY_MS;
    }
  } catch (error) {
    console.error(error);
  }
  if (!reported) byId("worth").replaceChildren(el("p", {class: "none"}, "It is not known now; enricher report tells it."));
  setTimeout(askReport, again);
}

function show(status) {
  shown = status;
  byId("all").hidden = false;  // before the charts, which are as wide as their place is
  for (const part of PARTS) if (!isSelected(part)) part(status);  // somebody may be copying an id
  byId("leads").textContent = status.leads;
  byId("all").dataset.at = status.at;
}

function understood(status) {  // the daemon may be of another version by now than this page
  try {
    show(status);
    answeredAt = performance.now();
    return "";
  } catch (error) {
    console.error(error);
    return "This page does not understand what the daemon answers. Load it again.";
  }
}

async function ask() {
  clearTimeout(timer);
  try {
    const reply = await fetch("status.json", {cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS)});
    if (reply.ok) {
      failingFor = understood(await reply.json());
    } else {
      failingFor = reply.status === 503 ? "The daemon runs, but MongoDB does not answer it." : `The daemon answers with an error (${reply.status}).`;
    }
  } catch {
    failingFor = "The daemon does not answer.";
  }
  freshness();
  timer = setTimeout(ask, document.hidden ? ASK_HIDDEN_MS : ASK_EVERY_MS);
}

function freshness() {
  const age = answeredAt === null ? null : performance.now() - answeredAt;
  const isStale = failingFor !== "" || (age !== null && age > STALE_AFTER_MS && !document.hidden);
  document.body.classList.toggle("is-stale", isStale);
  byId("age").textContent = age === null ? "no answer yet" : `${clock(byId("all").dataset.at)} UTC, ${Math.round(age / 1000)} s ago`;
  const old = age === null ? "" : ` What you see is ${duration(Math.round(age / 1000))} old.`;
  const text = isStale ? `⚠ ${failingFor || "The daemon does not answer."}${old}` : "";
  const banner = byId("stale");
  banner.hidden = !isStale;
  if (banner.textContent !== text) banner.textContent = text;
  if (isStale && !document.title.startsWith("⚠")) document.title = `⚠ ${document.title}`;
}

addEventListener("resize", () => { if (shown) for (const chart of [settledChart, waitingChart]) chart(shown); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
setInterval(freshness, 1000);
ask();
askReport();
