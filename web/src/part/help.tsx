// The help: keys, and where else the numbers are.

import { useEffect, useRef, useState } from "preact/hooks";
import { link } from "../api";
import { KEYS, enable, enabled } from "../key";

export function Help({ open, close }: { open: boolean; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [keys, setKeys] = useState(enabled());
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    <dialog ref={dialog} aria-labelledby="help" onClose={close}>
      <h2 id="help">Help</h2>
      <table class="small">
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">What it does</th>
          </tr>
        </thead>
        <tbody>
          {KEYS.map(([key, what]) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p>
        <label>
          <input
            type="checkbox"
            checked={keys}
            onChange={(event) => {
              setKeys(event.currentTarget.checked);
              enable(event.currentTarget.checked);
            }}
          />{" "}
          Single keys are on
        </label>
      </p>
      <p>
        All that this page shows is in the <a href={link("api/v1/report")}>API</a> (
        <a href={link("api/v1/openapi.json")}>OpenAPI</a>) and in the <a href={link("metrics")}>metrics</a>. In a terminal:{" "}
        <code>headroom top</code>, <code>headroom status</code>, <code>headroom explain</code>.
      </p>
      <p>– stands for what is not known.</p>
      <button type="button" onClick={close}>
        Close
      </button>
    </dialog>
  );
}
