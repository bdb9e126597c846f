// What our pages use of htm with Preact 10; written here, for htm ships no types of this file.
export type VNode = object;
export type Ref<T> = { current: T };
export const html: (strings: TemplateStringsArray, ...values: unknown[]) => VNode;
export function h(type: unknown, props: unknown, ...children: unknown[]): VNode;
export function render(node: VNode, into: Element): void;
export function useState<T>(initial: T | (() => T)): [T, (next: T | ((before: T) => T)) => void];
export function useEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useRef<T>(initial: T): Ref<T>;
export function useMemo<T>(make: () => T, inputs: readonly unknown[]): T;
export function useCallback<T>(call: T, inputs: readonly unknown[]): T;
export function useReducer<S, A>(reduce: (state: S, action: A) => S, initial: S): [S, (action: A) => void];
export function useErrorBoundary(told?: (error: Error) => void): [Error | undefined, () => void];
