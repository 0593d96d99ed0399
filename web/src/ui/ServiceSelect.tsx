/** Chooses one service or all. Keeps a chosen service that is silent at the moment. */
import type { Service } from "../api/models.ts";

interface ServiceSelectProps {
  readonly value: string;
  readonly services: readonly Service[];
  readonly onChange: (service: string) => void;
}

export function ServiceSelect({ value, services, onChange }: ServiceSelectProps) {
  const names = services.map((service) => service.name);
  if (value !== "" && !names.includes(value)) names.push(value);
  names.sort((a, b) => a.localeCompare(b));
  return (
    <label>
      Service
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">All services</option>
        {names.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
