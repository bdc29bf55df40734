// The restore's trigger form, filled in with a set. Airflow 3.3 can't fill its own from an address, so this one is made
// from the DAG's parameters and sent to Airflow's API, which checks rights and values.
import { html, useId, usePage, useState } from "../ui.js";
import { api, ask, useAnswer } from "../api.js";
import { leave } from "../airflow.js";
import { to } from "../routes.js";
import { Icon } from "../parts/icons.js";
import { Marked, Out, cadenceName } from "../parts/said.js";
import { Answer, Empty } from "../parts/states.js";

export function Restore({ route }) {
  const { t, site } = usePage();
  const answer = useAnswer(api(site.site, "sets", route.cadence, route.id));
  return html`<p class="back"><a href=${to.set(site.site, route.name)}><${Icon} name="left" />${cadenceName(t, route.cadence)} ${route.id}</a></p>
    <h1>${t("restore.title")}</h1>
    <${Answer} answer=${answer} height="34rem">${(set) => set.restore ? html`<${Asked} set=${set} />` : site.may_restore
      ? html`<${Empty} title=${t("restore.unusable")}>${set.problem ?? ""}<//>`
      : html`<${Empty} title=${t("restore.forbidden")}>${t("restore.forbidden.help")}<//>`}<//>`;
}

function Asked({ set }) {
  const answer = useAnswer(set.restore.params_url);
  return html`<${Answer} answer=${answer} height="34rem">${(dag) => html`<${Form} set=${set} dag=${dag} />`}<//>`;
}

function Form({ set, dag }) {
  const { t } = usePage();
  const { restore } = set;
  const first = initial(dag.params, restore.conf);
  const [values, setValues] = useState(first);
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  const sections = sectionsOf(dag.params);
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError("");
    try {
      const { dag_run_id: run } = await ask(restore.trigger_url, { method: "POST", body: { logical_date: null, conf: cleaned(dag.params, values) } });
      leave(`${restore.run_url}${encodeURIComponent(run)}`);
    } catch (failure) {
      setError(failure.message || t("error.help"));
      setBusy(false);
    }
  };
  const set_ = (name) => (value) => setValues((known) => ({ ...known, [name]: value }));
  return html`<form class="restore card" onSubmit=${send}>
    <p class="sentence">${t("restore.says", { set: html`<code>${set.name}</code>` })}</p>
    ${dag.is_paused ? html`<div class="notice warn" role="status"><${Icon} name="warning" /><p>${t("restore.paused")} <${Out} href=${restore.dag_url}>${t("restore.dag")}<//></p></div>` : null}
    ${sections.map(({ title, names }) => title
      ? html`<details open=${names.some((name) => changed(first[name], dag.params[name].value))}><summary>${title}</summary>${names.map((name) => html`<${Field} key=${name} name=${name} param=${dag.params[name]} value=${values[name]} onChange=${set_(name)} />`)}</details>`
      : names.map((name) => html`<${Field} key=${name} name=${name} param=${dag.params[name]} value=${values[name]} onChange=${set_(name)} />`))}
    ${values.environment === "production" ? html`<div class="notice bad" role="status"><${Icon} name="warning" /><p>${t("restore.production")}</p></div>` : null}
    <p class="form-error" role="alert">${error}</p>
    <div class="actions"><button type="submit" class="button ${values.environment === "production" ? "danger" : "primary"}" disabled=${isBusy}>${t(values.dry_run ? "restore.start.dry" : "restore.start")}</button></div></form>`;
}

const changed = (one, other) => JSON.stringify(one) !== JSON.stringify(other);

const initial = (params, conf) => Object.fromEntries(Object.entries(params).map(([name, { value }]) => [name, name in conf ? conf[name] : value]));

/** Fields without a section first, then by section, each in the DAG's order. */
function sectionsOf(params) {
  const found = new Map([["", []]]);
  for (const [name, { schema }] of Object.entries(params)) {
    const title = schema.section ?? "";
    found.set(title, [...(found.get(title) ?? []), name]);
  }
  return [...found].map(([title, names]) => ({ title, names }));
}

/** What Airflow is sent: empty fields are what the parameter calls empty. */
function cleaned(params, values) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => {
    const { schema } = params[name];
    if (isList(schema)) return [name, (value ?? []).map((line) => line.trim()).filter(Boolean)];
    if (typeof value === "string") return [name, value.trim() || (types(schema).includes("null") ? null : "")];
    return [name, value];
  }));
}

const types = ({ type }) => [type ?? "string"].flat();
const isList = (schema) => types(schema).includes("array");

function Field({ name, param, value, onChange }) {
  const id = useId();
  const { schema } = param;
  const help = schema.description_md ?? param.description ?? schema.description;
  const Input = schema.enum ? Choice : isList(schema) ? (schema.examples?.length ? Choices : Lines) : types(schema).includes("boolean") ? Check : Line;
  const isGroup = Input === Choices;
  const label = schema.title ?? name;
  return html`<div class="field" data-param=${name}>
    ${Input === Check ? null : isGroup ? html`<span class="field-label" id="${id}-label">${label}</span>` : html`<label for=${id}>${label}</label>`}
    <${Input} id=${id} label=${label} schema=${schema} value=${value} onChange=${onChange} help=${`${id}-help`} />
    ${help ? html`<p class="small" id="${id}-help"><${Marked} text=${help} /></p>` : null}</div>`;
}

const shown = (schema, value) => schema.values_display?.[String(value)] ?? String(value ?? "–");

const Choice = ({ id, schema, value, onChange, help }) => html`
  <select id=${id} aria-describedby=${help} value=${String(value)} onChange=${(event) => onChange(schema.enum[event.currentTarget.selectedIndex])}>
    ${schema.enum.map((one) => html`<option value=${String(one)} selected=${one === value}>${shown(schema, one)}</option>`)}</select>`;

const Choices = ({ id, schema, value, onChange }) => html`<div class="checks" role="group" aria-labelledby="${id}-label">
  ${schema.examples.map((one) => html`<label><input type="checkbox" checked=${(value ?? []).includes(one)}
    onChange=${(event) => onChange(schema.examples.filter((other) => (other === one ? event.currentTarget.checked : (value ?? []).includes(other))))} />${shown(schema, one)}</label>`)}</div>`;

const Check = ({ id, label, value, onChange, help }) => html`
  <label class="check"><input id=${id} type="checkbox" aria-describedby=${help} checked=${Boolean(value)} onChange=${(event) => onChange(event.currentTarget.checked)} />${label}</label>`;

function Lines({ id, value, onChange, help }) {
  const [text, setText] = useState((value ?? []).join("\n"));
  return html`<textarea id=${id} rows="2" aria-describedby=${help} value=${text} onInput=${(event) => { setText(event.currentTarget.value); onChange(event.currentTarget.value.split("\n")); }}></textarea>`;
}

const Line = ({ id, schema, value, onChange, help }) => html`
  <input id=${id} type="text" aria-describedby=${help} value=${value ?? ""} required=${(schema.minLength ?? 0) > 0} onInput=${(event) => onChange(event.currentTarget.value)} />`;
