// Loaded before Gemini CLI. Only a trusted folder lets it work unattended, git included; but in a
// trusted folder it takes settings from the workspace, and those start programs, name other hosts,
// and show the key to shells. So for its loader, which reads in step, they are not there. Its file
// tools read otherwise and see them as they are.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

// Not for what it starts.
delete process.env.NODE_OPTIONS;

const hidden = ['settings.json', '.env'].map((name) => path.join(process.cwd(), '.gemini', name));
const isHidden = (file) => typeof file === 'string' && hidden.includes(path.resolve(file));
const { existsSync, readFileSync } = fs;

fs.existsSync = (file) => !isHidden(file) && existsSync(file);
fs.readFileSync = (file, options) => {
  if (isHidden(file)) {
    throw Object.assign(new Error(`ENOENT: no such file or directory, open '${file}'`), {
      code: 'ENOENT', errno: -2, syscall: 'open', path: file,
    });
  }
  return readFileSync(file, options);
};
syncBuiltinESMExports();

// What a pipe has not taken when it exits is lost otherwise, its last event first.
process.stdout._handle?.setBlocking?.(true);
