// Figures in words, as the command line says them.

// A duration in its two largest units; the smaller one only where it is not 0.
export function duration(seconds) {
  const whole = Math.round(Math.max(0, seconds));
  if (whole < 60) return `${whole} s`;
  const [large, rest, unit] =
    whole < 3600 ? [`${Math.floor(whole / 60)} min`, whole % 60, "s"]
    : whole < 86400 ? [`${Math.floor(whole / 3600)} h`, Math.floor((whole % 3600) / 60), "min"]
    : [`${Math.floor(whole / 86400)} d`, Math.floor((whole % 86400) / 3600), "h"];
  return rest ? `${large} ${rest} ${unit}` : large;
}

// A moment of unix seconds in UTC, its day only where that is not the day of `now`.
export function clock(at, now) {
  const [day, time] = new Date(at * 1000).toISOString().split("T");
  const told = time.slice(0, 8);
  return new Date(now * 1000).toISOString().startsWith(day) ? told : `${day} ${told}`;
}

// Three digits; all in front of the point.
export function number(value) {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
}

export function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)}\u00a0%`;
}

export function gib(bytes) {
  return (bytes / 2 ** 30).toFixed(1);
}

export function counted(count, thing) {
  return count === 1 ? `${count} ${thing}` : `${count} ${thing}s`;
}

export function spoken(word) {
  return word.replaceAll("_", " ");
}
