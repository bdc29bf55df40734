// Texts in the language of Airflow's UI, out of i18n/<language>.json.

/** @returns {Promise<object>} the texts of a language */
export async function load(language) {
  const response = await fetch(`static/i18n/${language}.json`);
  if (!response.ok) throw new Error(`The texts (${language}) can't be read: HTTP ${response.status}`);
  return response.json();
}

/**
 * `t(key, {name: value})` fills `{name}` in; a value may be an element, then an array comes back.
 * `t.count(key, n)` picks `key.one` or `key.other`; `t.word(group, code)` is `group.code`, or the code where there is none.
 */
export function translator(language, texts) {
  const rules = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  const t = (key, values = {}) => {
    const pieces = (texts[key] ?? key).split(/\{(\w+)\}/).map((piece, position) => (position % 2 ? values[piece] : piece));
    return pieces.some((piece) => typeof piece === "object") ? pieces : pieces.join("");
  };
  t.count = (key, n, values = {}) =>
    t(`${key}.${rules.select(n) === "one" ? "one" : "other"}`, { count: number.format(n), ...values });
  t.word = (group, code) => (`${group}.${code}` in texts ? texts[`${group}.${code}`] : code);
  t.has = (key) => key in texts;
  return t;
}
